"""Adapters: engines that generate by themselves, and our recipe inside other engines. One file an engine."""
