from stand_ins import decoders, fake_cuda, fake_cuda_decoder, llama_like, steady

__all__ = ["decoders", "fake_cuda", "fake_cuda_decoder", "llama_like", "steady"]
