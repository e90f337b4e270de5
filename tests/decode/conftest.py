import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # importlib mode adds no folder by itself
from stand_ins import decoders, fake_cuda, fake_cuda_decoder, llama_like, steady

__all__ = ["decoders", "fake_cuda", "fake_cuda_decoder", "llama_like", "steady"]
