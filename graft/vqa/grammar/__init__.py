"""Grammars that read questions without a language model."""

from graft.vqa.grammar.everyday import EverydayWriter
from graft.vqa.grammar.rsvqa import RSVQAWriter

__all__ = ["EverydayWriter", "RSVQAWriter"]
