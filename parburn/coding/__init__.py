"""Data bytes to programming words: the coding schemes of the eFuse controllers."""

from parburn.coding.encode import encode_many, encode_rs, encode_three_quarters, implementation
from parburn.coding.scheme import CodingScheme

__all__ = ["CodingScheme", "encode_many", "encode_rs", "encode_three_quarters", "implementation"]
