"""The network of the groundingdino-py package, on today's transformers.

Version 0.4.0 of the package reaches for methods of BERT that transformers 5 removed; `_TextEncoder`
takes the place of its wrapper. It also mixes up the captions of a batch; `_keep_own_mask` does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from groundingdino.models.GroundingDINO import groundingdino as package_model
from groundingdino.util import get_tokenlizer
from torch import nn
from transformers import AutoConfig, AutoTokenizer, BertModel


def build_model(config: SimpleNamespace, text_encoder: Path) -> nn.Module:
    """The package's model with random weights; `text_encoder` holds BERT's tokenizer and config."""

    def load_tokenizer(_: str) -> Any:
        return AutoTokenizer.from_pretrained(
            text_encoder, local_files_only=True, trust_remote_code=False
        )

    def build_bert(_: str) -> BertModel:
        # Random: the checkpoint holds the text encoder too. Eager attention takes our mask as is.
        settings = AutoConfig.from_pretrained(
            text_encoder, local_files_only=True, trust_remote_code=False
        )
        settings._attn_implementation = "eager"
        return BertModel(settings)

    with (
        _replaced(package_model, BertModelWarper=_TextEncoder),
        _replaced(
            get_tokenlizer,
            get_tokenlizer=load_tokenizer,
            get_pretrained_language_model=build_bert,
        ),
    ):
        model: Any = package_model.build_groundingdino(config)
    for layer in model.transformer.encoder.text_layers:
        layer.register_forward_pre_hook(_keep_own_mask, with_kwargs=True)
    network: nn.Module = model.eval()
    return network


def _keep_own_mask(
    layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Each caption's mask for each of its own heads.

    groundingdino-py 0.4.0 repeats the masks of a batch as a whole, a b a b, where PyTorch's
    attention wants them by caption, a a b b: heads would see what another caption's tokens may.
    It leaves masks alone that are repeated already.
    """
    return args, {**kwargs, "src_mask": kwargs["src_mask"].repeat_interleave(layer.nhead, 0)}


class _TextEncoder(nn.Module):
    """BERT with a mask of its own for each pair of tokens; parameters as in the checkpoints."""

    def __init__(self, bert_model: BertModel) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings = bert_model.embeddings
        self.encoder = bert_model.encoder

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Tokens (batch, tokens) and visibility (batch, tokens, tokens) -> last hidden state."""
        hidden = self.embeddings(
            input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids
        )
        hidden_keys = ~attention_mask.bool()[:, None]
        bias = torch.zeros(hidden_keys.shape, dtype=hidden.dtype, device=hidden.device)
        bias.masked_fill_(hidden_keys, torch.finfo(hidden.dtype).min)
        return {"last_hidden_state": self.encoder(hidden, attention_mask=bias).last_hidden_state}


@contextmanager
def _replaced(module: ModuleType, **attributes: object) -> Iterator[None]:
    before = {name: getattr(module, name) for name in attributes}
    for name, value in attributes.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)
