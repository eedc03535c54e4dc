"""Fine-tuning of a sentence encoder: a query's vector comes closer to its relevant documents than to all others of the batch.

The loss is the library's MultipleNegativesRankingLoss (A. van den Oord, Y. Li and O. Vinyals, "Representation learning with
contrastive predictive coding", 2018) with one hard negative a pair; batches come from `compatible_batches`, so that no known
relevant document counts as a negative. Word embeddings stay as they are: few queries touch few words, and the others would move
away from them.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.models.encoder import Role, Vectors
from pipelines.models.export import load_library
from pipelines.models.folder import ModelFolder
from pipelines.models.training.checkpoints import TrainingCheckpoints
from pipelines.models.training.examples import Pair, compatible_batches
from pipelines.models.training.trainer import Curve, Schedule, fit, quiet, training_arguments


class BiEncoder:
    """A sentence encoder in torch that can be trained.

    Args:
        read: the base's folder.
        max_length: tokens kept of a text.
    """

    def __init__(self, read: ModelFolder, max_length: int) -> None:
        quiet()
        self.prompts: dict[Role, str] = {"query": read.query_prefix, "document": read.document_prefix}
        self.library = load_library(read.folder if read.own else read.model, max_length)

    def encode(self, texts: Sequence[str], role: Role) -> Vectors:
        """Unit vectors of texts as the weights are now, float32, (texts, dimensions)."""
        import numpy as np

        return np.asarray(
            self.library.encode(
                list(texts), prompt=self.prompts[role], batch_size=64, show_progress_bar=False, normalize_embeddings=True
            ),
            np.float32,
        )

    def train(
        self,
        pairs: Sequence[Pair],
        texts: Mapping[str, str],
        base: float,
        measure: Callable[[], float],
        schedule: Schedule,
        scale: float,
        checkpoints: TrainingCheckpoints,
    ) -> Curve:
        """Train on pairs.

        Args:
            pairs: one or more.
            texts: of documents by id.
            base: nDCG@10 over the dev queries before training.
            measure: the same, as the weights are now.
            schedule: of the training.
            scale: what cosines are multiplied by before the softmax.
            checkpoints: of this training.

        Raises:
            InputError: the loss is not finite.
            TryAgain: the process was told to stop.
        """
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        rows = Dataset.from_dict(
            {
                "anchor": [pair.query.text for pair in pairs],
                "positive": [texts[pair.positive] for pair in pairs],
                "negative": [texts[pair.negative] for pair in pairs],
            }
        )
        columns = {"anchor": "query", "positive": "document", "negative": "document"}
        prompts = {column: self.prompts[role] for column, role in columns.items() if self.prompts[role]}  # type: ignore[index]
        self.library.model_card_data.generate_widget_examples = False  # nobody reads that card
        freeze_word_embeddings(self.library.transformers_model)

        class Trainer(SentenceTransformerTrainer):  # type: ignore[misc]  # the library is not followed by mypy
            def get_batch_sampler(self, dataset: Any, **how: Any) -> Any:
                return _sampler(dataset, pairs, **how)

        def make_trainer(folder: Path, evaluator: Any, callbacks: list[Any]) -> Any:
            return Trainer(
                model=self.library,
                args=training_arguments(SentenceTransformerTrainingArguments, folder, schedule, prompts=prompts or None),
                train_dataset=rows,
                loss=MultipleNegativesRankingLoss(self.library, scale=scale),
                evaluator=evaluator,
                callbacks=callbacks,
            )

        return fit(make_trainer, base, measure, schedule, checkpoints)

    def save(self, folder: Path) -> None:
        """Write the encoder as a folder of sentence-transformers."""
        self.library.save_pretrained(str(folder), create_model_card=False)


def freeze_word_embeddings(body: Any) -> None:
    """Leave the table of word vectors as it is: half of a small model's weights, and no time for them in the optimizer."""
    body.get_input_embeddings().weight.requires_grad_(False)


def _sampler(dataset: Any, pairs: Sequence[Pair], **how: Any) -> Any:
    """What makes the trainer's batches, all of one size as far as rows fit together; the same for the same seed and epoch."""
    from sentence_transformers.base.sampler import DefaultBatchSampler

    class CompatibleBatches(DefaultBatchSampler):  # type: ignore[misc]  # the library is not followed by mypy
        def __len__(self) -> int:
            return math.ceil(len(pairs) / int(self.batch_size))

        def __iter__(self) -> Iterator[list[int]]:
            return islice(compatible_batches(pairs, self.batch_size, self.seed + self.epoch), len(self))

    return CompatibleBatches(dataset, **how)
