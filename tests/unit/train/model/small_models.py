"""Sizes of the small random models of any architecture."""

SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "initializer_range": 0.5,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
