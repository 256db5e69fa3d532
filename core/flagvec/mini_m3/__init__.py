"""mini-M3: a small BGE-M3 style checkpoint for English, to try and test with, offline."""

from flagvec.mini_m3.assembly import assemble, find_backbone

__all__ = ["assemble", "find_backbone"]
