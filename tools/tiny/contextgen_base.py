"""Trains the base model of the tiny contextgen: text encoders and transformer, from captions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FluxTransformer2DModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from imig.contextgen.components import LatentCodec
from tools.tiny.common import Workshop, multiplies_bfloat16
from tools.tiny.contextgen_attention import Float32Attention
from tools.tiny.contextgen_vae import SIDE, target_of
from tools.tiny.loop import Batch, LoopConfig, train
from tools.tiny.pool import ScenePool
from tools.tiny.progress import Progress
from tools.tiny.tokenizer import build_tokenizer, vocabulary_lines

T5_WIDTH, CLIP_WIDTH = 96, 64
T5_CONTEXT, CLIP_CONTEXT = 256, 77
"""Tokens of a caption at most; CLIP's is what its position embeddings allow."""
TRANSFORMER: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 2,
    "num_single_layers": 4,
    "attention_head_dim": 32,
    "num_attention_heads": 6,
    "joint_attention_dim": T5_WIDTH,
    "pooled_projection_dim": CLIP_WIDTH,
    "guidance_embeds": True,
    "axes_dims_rope": (8, 12, 12),
}
LOOP = LoopConfig(
    "contextgen-base", steps=2400, learning_rate=1.2e-3, warmup=150, flat=0.3, bfloat16=True
)
BATCH = 16
ALIKE = 4
"""A batch is one in `ALIKE` parts of as many captions sorted by length: little padding."""
NO_CAPTION = 0.1
GRID = SIDE // 16
"""Tokens along a side of a target."""
ENCODED_AT_ONCE = 16


class BaseModel(nn.Module):
    """The parts that are trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = _new_transformer()
        self.text_encoder = CLIPTextModel(CLIPTextConfig(**clip_config()))
        self.text_encoder_2 = T5EncoderModel(T5Config(**t5_config()))

    def velocity(self, noisy: Tensor, times: Tensor, text: Batch) -> Tensor:
        """What the model takes the step from picture to noise to be, (n, GRID * GRID, 64).

        Parameters
        ----------
        noisy:
            (n, GRID * GRID, 64) tokens between picture and noise.
        times:
            (n,), 0 for the picture, 1 for noise.
        text:
            Token ids of the captions as `tokenize` gives them.

        The transformer's forward knows no padding: a mask hides it from every query, so that a
        caption counts as it does alone and unpadded.
        """
        words, there = text["words"], text["there"]
        states = self.text_encoder_2(words, attention_mask=there)[0]
        pooled = self.text_encoder(text["ends"]).pooler_output
        device = noisy.device
        seen = torch.ones(noisy.shape[:2], dtype=torch.bool, device=device)
        mask = torch.cat((there.bool(), seen), dim=1)[:, None, None]
        answer: Tensor = self.transformer(
            hidden_states=noisy,
            encoder_hidden_states=states,
            pooled_projections=pooled,
            timestep=times,
            guidance=torch.ones_like(times),
            txt_ids=torch.zeros(words.shape[1], 3, device=device),
            img_ids=target_ids().to(device),
            joint_attention_kwargs={"attention_mask": mask},
            return_dict=False,
        )[0]
        return answer


def clip_config() -> dict[str, Any]:
    """Of the CLIP text model; its special tokens are the tokenizer's."""
    return {
        "vocab_size": len(vocabulary_lines()),
        "hidden_size": CLIP_WIDTH,
        "intermediate_size": 4 * CLIP_WIDTH,
        "projection_dim": CLIP_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CLIP_CONTEXT,
        "bos_token_id": 101,
        "eos_token_id": 102,
        "pad_token_id": 0,
    }


def t5_config() -> dict[str, Any]:
    """Of the T5 encoder."""
    return {
        "vocab_size": len(vocabulary_lines()),
        "d_model": T5_WIDTH,
        "d_kv": 24,
        "d_ff": 256,
        "num_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
        "pad_token_id": 0,
        "eos_token_id": 102,
        "is_encoder_decoder": False,
        "use_cache": False,
    }


def train_base(workshop: Workshop, vae: AutoencoderKL) -> BaseModel:
    """The base model, float16 values in float32, for the latents of `vae`."""
    pool = workshop.pool("training")
    latents, fingerprint = encode_pool(workshop, "training", vae)
    model = new_base()
    train(
        model,
        lambda rng: make_batch(pool, latents, rng),
        lambda batch: losses(model, batch),
        config=workshop.adapt(
            LOOP, TRANSFORMER, clip_config(), t5_config(), BATCH, ALIKE, NO_CAPTION, fingerprint
        ),
        checkpoint=workshop.checkpoint(LOOP.name),
        device=workshop.device,
    )
    return model.half().float()


def new_base() -> BaseModel:
    """A base model with random weights."""
    torch.manual_seed(0)
    return BaseModel()


def encode_pool(workshop: Workshop, kind: str, vae: AutoencoderKL) -> tuple[NDArray[Any], str]:
    """Tokens of a pool's targets (n, GRID * GRID, 64), float16, from the workshop's cache.

    Encodes what is missing. The second value is the fingerprint of autoencoder and pool: tokens of
    another autoencoder are not taken.
    """
    pool = workshop.pool(kind)
    fingerprint = _fingerprint(vae, pool)
    folder = workshop.cache / "contextgen-latents"
    folder.mkdir(parents=True, exist_ok=True)
    path, marker = folder / f"{kind}.npy", folder / f"{kind}.json"
    done = 0
    if marker.exists() and path.exists():
        state = json.loads(marker.read_text(encoding="utf-8"))
        done = state["done"] if state["fingerprint"] == fingerprint else 0
    shape = (len(pool), GRID * GRID, 64)
    if not done:
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    tokens = np.load(path, mmap_mode="r+")
    codec = LatentCodec(vae.to(workshop.device))
    half = multiplies_bfloat16(workshop.device)
    with Progress(f"encode {kind}", total=len(pool), done=done, unit="scenes") as progress:
        for start in range(done, len(pool), ENCODED_AT_ONCE):
            end = min(start + ENCODED_AT_ONCE, len(pool))
            images = np.stack([target_of(pool[index]) for index in range(start, end)])
            device = workshop.device.split(":")[0]
            with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
                tokens[start:end] = codec.encode(torch.from_numpy(images)).cpu().numpy()
            progress.advance(end - start)
            if (start // ENCODED_AT_ONCE) % 64 == 63 or end == len(pool):
                tokens.flush()
                marker.write_text(
                    json.dumps({"fingerprint": fingerprint, "done": end}), encoding="utf-8"
                )
    return np.load(path, mmap_mode="r"), fingerprint


def make_batch(pool: ScenePool, latents: NDArray[Any], rng: np.random.Generator) -> Batch:
    """tokens (BATCH, GRID * GRID, 64), times (BATCH,), and token ids of captions of like length.

    Pictures are not mirrored: captions speak of left and right, or list from left to right.
    """
    drawn = []
    for index in rng.integers(len(pool), size=ALIKE * BATCH):
        truth = pool.truth[int(index)]
        caption = truth["caption"] if rng.random() < 0.5 else truth["simple_caption"]
        drawn.append(("" if rng.random() < NO_CAPTION else caption, int(index)))
    drawn.sort(key=lambda one: len(one[0]))
    part = int(rng.integers(ALIKE))
    chosen = drawn[part * BATCH : (part + 1) * BATCH]
    tokens = np.stack([latents[index] for _, index in chosen]).astype(np.float32)
    times = 1 / (1 + np.exp(-rng.standard_normal(BATCH, np.float32)))
    return {
        "tokens": torch.from_numpy(tokens),
        "times": torch.from_numpy(times),
        **tokenize([caption for caption, _ in chosen]),
    }


def losses(model: BaseModel, batch: Batch) -> dict[str, Tensor]:
    """Flow matching: squared error of the velocity, noise minus picture."""
    picture, times = batch["tokens"], batch["times"]
    noise = torch.randn_like(picture)
    at = times[:, None, None]
    velocity = model.velocity((1 - at) * picture + at * noise, times, batch)
    return {"loss": F.mse_loss(velocity.float(), noise - picture)}


def tokenize(captions: Sequence[str]) -> Batch:
    """Token ids: `words` (n, longest) for T5 and where they are `there`; `ends` (n, c) for CLIP."""
    words = _tokenizer()(
        list(captions), padding=True, truncation=True, max_length=T5_CONTEXT, return_tensors="pt"
    )
    # what exceeds CLIP's context is cut; the end token stays
    ends = _tokenizer()(
        list(captions), padding=True, truncation=True, max_length=CLIP_CONTEXT, return_tensors="pt"
    )
    return {"words": words.input_ids, "there": words.attention_mask, "ends": ends.input_ids}


def target_ids() -> Tensor:
    """Rotary indices (0, row, column) of a target's tokens, (GRID * GRID, 3)."""
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    return torch.stack((torch.zeros_like(rows), rows, columns), dim=-1).view(-1, 3).float()


@torch.no_grad()
def flow_loss(
    model: BaseModel,
    pool: ScenePool,
    latents: NDArray[Any],
    *,
    scenes: int = 256,
    change: Callable[[int], int] = lambda index: index,
) -> float:
    """Mean flow-matching loss at t = 0.1, 0.3, .. 0.9 with noise that follows from the scene.

    `change` says whose caption a scene is given; its own by default.
    """
    device = next(model.parameters()).device
    total, count = 0.0, 0
    order = sorted(
        range(min(scenes, len(pool))), key=lambda i: len(pool.truth[change(i)]["caption"])
    )
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        picture = torch.from_numpy(np.stack([latents[i] for i in chosen]).astype(np.float32))
        noise = torch.stack(
            [
                torch.randn(picture.shape[1:], generator=torch.Generator().manual_seed(i))
                for i in chosen
            ]
        )
        text = tokenize([pool.truth[change(i)]["caption"] for i in chosen])
        text = {name: value.to(device) for name, value in text.items()}
        for time in (0.1, 0.3, 0.5, 0.7, 0.9):
            noisy = ((1 - time) * picture + time * noise).to(device)
            times = torch.full((len(chosen),), time, device=device)
            velocity = model.velocity(noisy, times, text).float().cpu()
            total += float((velocity - (noise - picture)).square().mean()) * len(chosen)
            count += len(chosen)
    return total / max(count, 1)


@torch.no_grad()
def draw_tokens(
    model: BaseModel, captions: Sequence[str], *, steps: int = 24, seed: int = 0
) -> Tensor:
    """Tokens of pictures drawn from captions by Euler's steps, (n, GRID * GRID, 64)."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn((len(captions), GRID * GRID, 64), generator=generator).to(device)
    text = {name: value.to(device) for name, value in tokenize(captions).items()}
    # as FLUX's scheduler shifts them for so few tokens: longer at the noisy end
    times = torch.linspace(1, 0, steps + 1)
    times = 1.6 * times / (1 + 0.6 * times)
    for now, after in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        at = torch.full((len(captions),), now, device=device)
        tokens = tokens + (after - now) * model.velocity(tokens, at, text).float()
    return tokens


def _new_transformer() -> FluxTransformer2DModel:
    transformer = FluxTransformer2DModel(**TRANSFORMER)
    transformer.set_attn_processor(Float32Attention())
    # every block starts as the identity and the answer as zero
    gates = ("norm1.linear", "norm1_context.linear", "norm.linear", "norm_out.linear")
    for name, module in transformer.named_modules():
        if name.endswith(gates) or name == "proj_out":
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return transformer


def _fingerprint(vae: AutoencoderKL, pool: ScenePool) -> str:
    digest = hashlib.sha256((pool.folder / "pool.json").read_bytes())
    for name, value in sorted(vae.state_dict().items()):
        digest.update(name.encode() + value.cpu().float().numpy().tobytes())
    digest.update(f"{vae.config.shift_factor} {vae.config.scaling_factor} {SIDE}".encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    return build_tokenizer(max_length=T5_CONTEXT)
