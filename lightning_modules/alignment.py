"""Training: pull a satellite encoder into CLIP's space through photos taken on the ground."""

from typing import Any, Literal

import torch
from lightning import Callback, LightningModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from graft.batch import LabelledBatch, PairBatch
from graft.checkpoint import CHECKPOINT_KEY, check_same_run, checkpoint_card
from graft.encoders import Level, encoder_from_clip
from graft.errors import GraftError
from graft.gather import gather_candidates
from graft.losses import Pooling, alignment_loss, pool_photos, similarity
from graft.metrics import zero_shot_scores
from graft.optimisation import adamw, warmup_cosine_schedule
from graft.photo_tokens import TokenRead, check_whole_patches, tokens_under_photos
from graft.probe import read_probe_words
from graft.prompts import class_ids
from graft.results import code_version
from graft.teacher import Teacher
from lightning_modules.callbacks import SkipGuard

LARGEST_LOGIT_SCALE = 100.0


class GraftAlignment(LightningModule):
    """GRAFT (arXiv 2312.06960): tiles contrasted with the photos inside them.

    At image level by one vector a tile, at pixel level by the patch token under each photo. The loss is
    `graft.losses.alignment_loss`. The frozen teacher is not a sub-module, so it is in no checkpoint.

    Args:
        architecture: of the CLIP that teaches and that the encoder starts from (see `graft.clip.create_clip`).
        weights: of that CLIP: a tag, a file, or None.
        encoder: `tower` learns CLIP's own image tower; the controls learn from colour alone.
        level: `image` learns one vector per tile; `pixel` one per patch token, read where a photo was taken.
        token_read: how the tokens at a photo's position are read, see `graft.photo_tokens`; pixel level only.
        learning_rate: peak of the schedule.
        weight_decay: of matrices; vectors and scalars have none.
        warmup_steps: optimiser steps of linear warm-up, before a cosine down to 0.
        temperature: of the softmax.
        learn_temperature: learn it, starting there.
        siblings: whether the denominator of a photo holds the same tile's other photos.
        symmetric: average with the direction photo to tile.
        photos: `each` photo is a positive of its own, their `mean` is one, or `attention` weights them.
        patch_dropout: fraction of patch tokens dropped while training.
        online_teacher: run the teacher on photos stored in the shards instead of reading its vectors.
        probe_prompts: prompt set or text-vector file of the validation probe; follows `data.init_args.probe_prompts`.
        probe_family: prompt family of the probe.
    """

    def __init__(
        self,
        architecture: str = "ViT-B-16-quickgelu",
        weights: str | None = "openai",
        encoder: Literal["tower", "mean-colour", "colour-histogram", "token-colour"] = "tower",
        *,
        level: Level = "image",
        token_read: TokenRead = "containing",
        learning_rate: float = 1e-5,
        weight_decay: float = 1e-2,
        warmup_steps: int = 1000,
        temperature: float = 0.07,
        learn_temperature: bool = False,
        siblings: bool = True,
        symmetric: bool = False,
        photos: Pooling = "each",
        patch_dropout: float = 0.0,
        online_teacher: bool = False,
        probe_prompts: str = "eurosat",
        probe_family: str = "ground",
    ) -> None:
        super().__init__()
        if level == "pixel" and photos == "mean":
            raise GraftError("At pixel level each photo has a token of its own: set photos to each or attention.")
        self.save_hyperparameters()
        self.encoder: nn.Module | None = None
        self.attention: nn.Linear | None = None
        # No buffers: DDP broadcasts them at every validation batch, of which a process may have one more than another.
        self.log_scale = nn.Parameter(torch.tensor(1 / temperature).log(), requires_grad=learn_temperature)
        self.probe_text = torch.empty(0)
        classes = len(class_ids(probe_prompts))
        self.probe_top1 = MulticlassAccuracy(classes, average="micro")
        self.probe_top1_macro = MulticlassAccuracy(classes, average="macro")
        self._teacher: Teacher | None = None
        self._card: dict[str, Any] = {}
        self._code_version = code_version()  # once: a checkout may change while it trains

    def configure_model(self) -> None:
        """Make encoder and words, once the data is known to be there.

        Raises:
            GraftError: no weights, words of another teacher than the shards' vectors, or an encoder of another width.
        """
        if self.encoder is not None:
            return
        settings, index = self.hparams, self.trainer.datamodule.index  # type: ignore[attr-defined]  # GroundPairs
        probe = read_probe_words(
            index,
            settings["probe_prompts"],
            settings["probe_family"],
            architecture=settings["architecture"],
            weights=settings["weights"],
            online=settings["online_teacher"],
        )
        self.encoder, self._tower = encoder_from_clip(
            settings["architecture"],
            settings["weights"],
            kind=settings["encoder"],
            level=settings["level"],
            patch_dropout=settings["patch_dropout"],
        )
        if self._tower.embed_dim != probe.card["dim"]:
            raise GraftError(
                f"{settings['architecture']} gives vectors of width {self._tower.embed_dim}, the teacher's have "
                f"{probe.card['dim']}: set model.init_args.architecture to one of the teacher's width."
            )
        if settings["photos"] == "attention":
            self.attention = nn.Linear(self._tower.embed_dim, 1)
        self.probe_text = probe.words.vectors
        self._teacher = probe.teacher if settings["online_teacher"] else None
        self._card = {"sensor": index.sensor, "radiometry": index.radiometry, "teacher": probe.card}

    def configure_callbacks(self) -> list[Callback]:
        """No run goes without the limit on damaged samples."""
        return [SkipGuard()]

    def on_fit_start(self) -> None:
        """Put words and an online teacher beside the model."""
        self.probe_text = self.probe_text.to(self.device)
        if self._teacher is not None:
            self._teacher.to(self.device)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """The loss of one batch, in float32."""
        ground, mask, photo_id = self._ground(batch), batch.mask, batch.photo_id
        if self.hparams["photos"] == "mean":
            ground, mask, photo_id = pool_photos(ground, mask, photo_id)
        satellite = self._satellite(batch)
        with torch.autocast(self.device.type, enabled=False):  # in bf16 the logits would be coarser than the loss
            loss = alignment_loss(
                satellite,
                ground,
                mask,
                gather_candidates(ground, mask, photo_id, satellite if self.hparams["symmetric"] else None),
                logit_scale=self.log_scale.exp().clamp(max=LARGEST_LOGIT_SCALE),
                siblings=self.hparams["siblings"],
                symmetric=self.hparams["symmetric"],
                attention=None if self.attention is None else self.attention(ground).squeeze(-1),
            )
            seen = similarity(satellite, ground, mask)
        self.log("train/loss", loss, prog_bar=True)
        self.log_dict(
            {f"train/{name}": value for name, value in vars(seen).items()} | {"train/logit_scale": self.log_scale.exp()}
        )
        return loss

    def _encode(self, tile: Tensor) -> Tensor:
        if self.encoder is None:
            raise RuntimeError("configure_model() has not run")
        vectors: Tensor = self.encoder(tile)
        return vectors

    def _satellite(self, batch: PairBatch) -> Tensor:
        """What the loss compares with the photos: [B, D], or [B, K, D] at pixel level."""
        if self.hparams["level"] == "image":
            return self._encode(batch.tile)
        check_whole_patches(batch.tile.shape[-1], self._tower.patch)
        tokens = self.encoder.tokens(batch.tile)  # type: ignore[union-attr, operator]  # every pixel-level encoder has it
        return tokens_under_photos(tokens, batch.xy, self._tower.patch, self.hparams["token_read"])

    def _ground(self, batch: PairBatch) -> Tensor:
        """Teacher vectors [B, K, D] of a batch, out of the shards or from the online teacher."""
        if batch.ground is not None:
            return batch.ground
        if self._teacher is None:
            raise GraftError(
                "The batch holds photos, but there is no teacher to look at them: set model.init_args.online_teacher "
                "to true beside data.init_args.online_photo_size."
            )
        ground = torch.zeros(*batch.mask.shape, self._tower.embed_dim, device=batch.tile.device)
        if batch.photo is not None and batch.mask.any():
            ground[batch.mask] = self._teacher.encode_image(batch.photo[batch.mask])
        return ground

    def validation_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        """Zero-shot classification of labelled tiles: the metric to choose a checkpoint by."""
        if not batch.name:
            return
        scores = zero_shot_scores(self._encode(batch.tile), self.probe_text)
        for name, metric in (("top1", self.probe_top1), ("top1_macro", self.probe_top1_macro)):
            metric.update(scores, batch.label)
            self.log(f"val/{name}", metric, prog_bar=True, batch_size=len(batch.tile))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the gradient's norm."""
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        self.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients))

    def configure_optimizers(self) -> Any:
        """AdamW without decay on vectors and scalars; linear warm-up, then cosine, per step."""
        settings = self.hparams
        total = self.trainer.estimated_stepping_batches
        if not 1 <= total < float("inf"):
            raise GraftError(
                "The length of the run is not known, and the schedule needs it: the data is an endless stream, so set "
                "trainer.limit_train_batches beside trainer.max_epochs, or trainer.max_steps."
            )
        optimizer = adamw(
            self,
            learning_rate=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            fused=not self.trainer.gradient_clip_val,  # Lightning refuses to clip for a fused optimiser
        )
        schedule = warmup_cosine_schedule(optimizer, warmup=settings["warmup_steps"], total=int(total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what evaluation needs to rebuild the encoder, in plain types."""
        scale = float(self.log_scale.detach().exp())
        facts = self._card | {"code_version": self._code_version}
        checkpoint[CHECKPOINT_KEY] = checkpoint_card(self._tower, logit_scale=scale, **facts)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on from another architecture, sensor or teacher."""
        check_same_run(checkpoint, self._tower, self._card)
