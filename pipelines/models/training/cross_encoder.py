"""Training of a cross-encoder that corrects the first stage: its score is added to the first stage's, and both learn as one.

The loss is the softmax over one relevant document and some that were found and are not relevant (Z. Cao et al., "Learning to
rank: from pairwise approach to listwise approach", ICML 2007) of `scale` × first stage's score + cross-encoder's score. The new
head begins at 0, so that training begins at the first stage's ranking. A cross-encoder that ranks alone needs more judgments.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InputError
from pipelines.models.sources import check_tokenizer, labels_of
from pipelines.models.training.bi_encoder import freeze_word_embeddings
from pipelines.models.training.checkpoints import TrainingCheckpoints
from pipelines.models.training.examples import RankedList
from pipelines.models.training.trainer import Curve, Schedule, fit, quiet, training_arguments

Logits = NDArray[np.float32]
BATCH = 64


def check_base(folder: Path, model: str) -> None:
    """Refuse a base that no cross-encoder with one score can start from.

    Args:
        folder: of the base.
        model: as the user named it, for the message.

    Raises:
        InputError: it has no tokenizer, or a head with another number of outputs than one.
    """
    check_tokenizer(folder, model)
    labels = labels_of(folder)
    if labels not in (None, 1):
        raise InputError(
            f"base {model!r}, which has {labels} outputs",
            "one output, or a base without a head",
            "take a base that scores pairs",
        )


class CrossEncoder:
    """A cross-encoder in torch that can be trained.

    Args:
        base: a folder with configuration, weights and tokenizer.
        max_length: tokens kept of a query and a document together.
    """

    def __init__(self, base: Path, max_length: int) -> None:
        from safetensors import SafetensorError
        from sentence_transformers import CrossEncoder as Library

        quiet()
        self.fresh = labels_of(base) is None
        with tempfile.TemporaryDirectory(prefix="ratchet-base-") as scratch:
            for path in base.iterdir():
                if path.is_file() and path.name != "modules.json":  # which would make it load as a sentence encoder
                    (Path(scratch) / path.name).symlink_to(path.absolute())
            try:
                self.library: Any = Library(
                    scratch,
                    device="cpu",
                    num_labels=1,
                    max_length=max_length,
                    local_files_only=True,
                    model_kwargs={"dtype": "float32"},
                )
            except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
                raise InputError(
                    f"base {base}: {str(error)[:200]}", "a base that transformers loads as a classifier", "check the folder"
                ) from None

    def score(self, texts: Sequence[tuple[str, str]]) -> Logits:
        """The score of each query and document, float32, (texts,), as the weights are now."""
        import torch

        return np.asarray(
            self.library.predict(list(texts), batch_size=BATCH, show_progress_bar=False, activation_fn=torch.nn.Identity()),
            np.float32,
        ).reshape(-1)

    def train(
        self,
        lists: Sequence[RankedList],
        texts: Mapping[str, str],
        base: float,
        measure: Callable[[], float],
        schedule: Schedule,
        scale: float,
        checkpoints: TrainingCheckpoints,
    ) -> Curve:
        """Train on ranked lists.

        Args:
            lists: one or more.
            texts: of documents by id.
            base: nDCG@10 over the dev queries before training.
            measure: the same of both scores together, as the weights are now.
            schedule: of the training.
            scale: what the first stage's scores are multiplied by.
            checkpoints: of this training.

        Raises:
            InputError: the loss is not finite.
            TryAgain: the process was told to stop.
        """
        import torch
        from datasets import Dataset
        from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments

        if self.fresh:
            torch.manual_seed(schedule.seed)
            head = next(module for module in reversed(list(self.library.modules())) if isinstance(module, torch.nn.Linear))
            torch.nn.init.zeros_(head.weight)
            torch.nn.init.zeros_(head.bias)
        self.library.model_card_data.generate_widget_examples = False  # nobody reads that card
        freeze_word_embeddings(self.library.transformers_model)
        rows = Dataset.from_dict(
            {
                "query": [one.query.text for one in lists],
                "documents": [[texts[document] for document in one.documents] for one in lists],
                "first_stage": [list(one.scores) for one in lists],
            }
        )

        def make_trainer(folder: Path, evaluator: Any, callbacks: list[Any]) -> Any:
            return CrossEncoderTrainer(
                model=self.library,
                args=training_arguments(CrossEncoderTrainingArguments, folder, schedule),
                train_dataset=rows,
                loss=_joint_loss(self.library, scale),
                evaluator=evaluator,
                callbacks=callbacks,
            )

        return fit(make_trainer, base, measure, schedule, checkpoints)

    def save(self, folder: Path) -> None:
        """Write configuration, weights and tokenizer as transformers has them."""
        self.library.transformers_model.save_pretrained(str(folder))
        self.library.tokenizer.save_pretrained(str(folder))


def _joint_loss(library: Any, scale: float) -> Any:
    import torch
    from sentence_transformers.util import batch_to_device

    class JointListLoss(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
        """Cross-entropy of the first document of each list by both scores together."""

        def __init__(self) -> None:
            super().__init__()
            self.model = library

        def forward(self, inputs: list[Any], labels: Any, prompt: str | None = None, task: str | None = None) -> Any:  # noqa: ARG002
            queries, documents, first_stage = inputs
            texts = [(query, document) for query, found in zip(queries, documents, strict=True) for document in found]
            tokens = batch_to_device(self.model.preprocess(texts), self.model.device)
            logits = self.model(tokens)["scores"].view(-1).float()
            offsets = torch.tensor([score for scores in first_stage for score in scores], device=logits.device)
            joint = (scale * offsets.float() + logits).split([len(found) for found in documents])
            padded = torch.nn.utils.rnn.pad_sequence(list(joint), batch_first=True, padding_value=float("-inf"))
            return torch.nn.functional.cross_entropy(padded, torch.zeros(len(joint), dtype=torch.long, device=logits.device))

    return JointListLoss()
