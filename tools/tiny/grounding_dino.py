"""Trains the tiny Grounding DINO: transformers' architecture, 2.7 M parameters, on tabletop."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from imig.stages.ground import GroundConfig
from tools.tiny.common import Workshop, finish_folder, parameter_count, write_card
from tools.tiny.grounding_figures import detect, figures, to_pixels
from tools.tiny.grounding_loss import grounding_loss
from tools.tiny.grounding_prompts import sample_prompt
from tools.tiny.loop import Batch, LoopConfig, train
from tools.tiny.pool import ScenePool
from tools.tiny.tokenizer import build_tokenizer

FAMILY = "grounding-dino"
IMAGE_SIZE = 192
BATCH = 16
LOOP = LoopConfig(FAMILY, steps=5000, learning_rate=1e-3, flat=0.35, bfloat16=True)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def train_family(workshop: Workshop) -> Path:
    """Trains, writes `grounding-dino/` below the workshop's output, and returns that folder."""
    pool = workshop.pool("training")
    tokenizer = build_tokenizer()
    model = build_model(len(tokenizer))
    train(
        model,
        partial(make_batch, pool, tokenizer),
        partial(losses, model),
        config=workshop.adapt(LOOP, model.config.to_json_string(), BATCH),
        checkpoint=workshop.checkpoint(FAMILY),
        device=workshop.device,
    )
    folder = workshop.output / FAMILY
    export(model, tokenizer, folder)
    write_card(
        folder,
        family=FAMILY,
        library="transformers",
        summary=f"A GroundingDinoForObjectDetection of transformers with {parameter_count(model)} "
        f"parameters, {IMAGE_SIZE} pixels. It finds the things that phrases describe: "
        '"plain red mug . striped blue car ."',
        recipe={
            "loss": "Hungarian matching in every decoder layer: focal loss of the tokens, L1 and "
            "GIoU of the boxes; the same for the encoder's proposals next to a thing's centre",
            "prompts": "phrases of the scene, some shortened or left out, in any order, with up to "
            "four absent ones that differ in a pattern, a colour, a kind",
            "steps": LOOP.steps,
            "batch": f"{BATCH} scenes, mirrored and brightened at random",
            "optimizer": f"AdamW, learning rate {LOOP.learning_rate}, moving average of weights",
        },
        figures=held_out_figures(folder, workshop),
        limits="Tabletop scenes of about 256 pixels with up to eight things, and the words of "
        "tabletop; a phrase that means several things finds each of them less surely.",
    )
    finish_folder(folder)
    return folder


def export(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes a folder that transformers' Auto classes load: half the bytes, float32 when loaded."""
    from transformers import GroundingDinoImageProcessor, GroundingDinoProcessor

    folder.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(model).cpu().half()
    half.save_pretrained(folder)
    # The position embeddings of boxes are float32 whatever the weights are, so the model does not
    # run in float16: `from_pretrained` is to widen the weights, which it does as config.json says.
    half.config.dtype = torch.float32
    half.config.save_pretrained(folder)
    images = GroundingDinoImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_pad=False,
        image_mean=list(MEAN),
        image_std=list(STD),
        resample=PIL.Image.Resampling.BILINEAR,
    )
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)  # type: ignore[no-untyped-call]
    # processor_config.json has these settings too; older releases of transformers read this file
    images.save_pretrained(folder)


def held_out_figures(folder: Path, workshop: Workshop) -> dict[str, float]:
    """The main figures of a finished folder, with the threshold and NMS of the ground stage."""
    from transformers import AutoTokenizer, GroundingDinoForObjectDetection

    stage = GroundConfig()
    model: Any = GroundingDinoForObjectDetection.from_pretrained(folder)
    model.to(workshop.device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    preprocess = partial(to_pixels, size=IMAGE_SIZE, mean=MEAN, std=STD)
    result: dict[str, float] = {}
    for kind, names in (
        ("held-out", ("recall", "precision", "box IoU", "false alarms")),
        ("held-out-novel", ("recall, novel",)),
    ):
        pool = workshop.pool(kind)
        found = detect(model, tokenizer, pool, preprocess, scenes=len(pool))
        measured = figures(found, threshold=stage.box_threshold, nms_iou=stage.nms_iou)
        result |= {name: measured[name] for name in names}
    return result


def build_model(vocabulary_size: int) -> Any:
    """The untrained model. Changes of the library's initialisation are what makes it train."""
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=IMAGE_SIZE, embed_dim=32, depths=[1, 1, 2, 1], num_heads=[2, 4, 8, 16],
            window_size=6, drop_path_rate=0.0,
            out_features=["stage3", "stage4"],  # type: ignore[call-arg]
        ),
        text_config=BertConfig(
            vocab_size=vocabulary_size, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=128, max_position_embeddings=256,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
        num_queries=30, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=256,
        decoder_ffn_dim=256, encoder_attention_heads=4, decoder_attention_heads=4, d_model=96,
        dropout=0.0, fusion_droppath=0.0, num_feature_levels=3, max_text_len=256,
        decoder_bbox_embed_share=True, two_stage=True,
    )  # fmt: skip
    model = GroundingDinoForObjectDetection(config)
    for layer in model.model.encoder.layers:
        # 1e-4 in the library: text and image would hardly meet for thousands of steps
        layer.fusion_layer.vision_param.data.fill_(0.3)
        layer.fusion_layer.text_param.data.fill_(0.3)
    # the contrastive head is a plain product of 96 channels: start with logits of order one
    last = model.model.encoder.layers[-1].text_enhancer_layer
    last.layer_norm_after.weight.data.fill_(config.d_model**-0.5)
    return model


def make_batch(pool: ScenePool, tokenizer: Any, rng: np.random.Generator) -> Batch:
    """Scenes drawn at random, mirrored half the time, with a prompt each."""
    images, boxes, targets, texts = [], [], [], []
    for index in rng.integers(len(pool), size=BATCH):
        scene = pool[int(index)]
        prompt = sample_prompt(scene.phrases, rng)
        image, true = scene.image, scene.boxes / scene.image.shape[0]
        if rng.random() < 0.5:
            image = image[:, ::-1]
            true = np.stack([1 - true[:, 2], true[:, 1], 1 - true[:, 0], true[:, 3]], axis=1)
        asked = prompt.means.any(axis=1)
        corners = true[asked]
        boxes.append(
            np.concatenate(
                [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
            )
        )
        targets.append(_token_targets(prompt.phrases, prompt.means[asked]))
        images.append(image)
        texts.append(" . ".join(prompt.phrases) + " .")
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    length = encoded["input_ids"].shape[1]
    pixels = torch.from_numpy(np.ascontiguousarray(np.stack(images))).permute(0, 3, 1, 2).float()
    brightness = torch.from_numpy(rng.uniform(0.85, 1.15, (BATCH, 1, 1, 1)).astype(np.float32))
    pixels = F.interpolate(pixels, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True)
    return {
        "pixels": normalise((pixels / 255 * brightness).clamp(0, 1)),
        "tokens": encoded["input_ids"],
        "text_mask": encoded["attention_mask"],
        "boxes": [torch.from_numpy(one.astype(np.float32)) for one in boxes],
        "targets": [F.pad(one, (0, length - one.shape[1])) for one in targets],
    }


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """(batch, 3, height, width) in [0, 1] -> ImageNet's mean 0, deviation 1, like the processor."""
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def _token_targets(phrases: list[str], means: NDArray[np.bool_]) -> torch.Tensor:
    """(instances, tokens): [CLS], then each phrase, a token a word, and its full stop."""
    columns = [np.zeros(len(means), bool)]
    for place, phrase in enumerate(phrases):
        columns += [means[:, place]] * len(phrase.split()) + [np.zeros(len(means), bool)]
    columns.append(np.zeros(len(means), bool))
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def losses(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """What `tools.tiny.loop.train` asks for."""
    outputs = model(
        pixel_values=batch["pixels"],
        input_ids=batch["tokens"],
        attention_mask=batch["text_mask"],
        token_type_ids=torch.zeros_like(batch["tokens"]),
    )
    device = batch["pixels"].device
    return grounding_loss(
        model,
        outputs,
        batch["tokens"],
        batch["text_mask"],
        [one.to(device) for one in batch["boxes"]],
        [one.to(device) for one in batch["targets"]],
    )
