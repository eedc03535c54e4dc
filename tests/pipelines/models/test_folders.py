"""Folders of sentence-transformers: an encoder gives what the folder's own library gives, or names what it cannot do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.models.encoder import card_of, load_encoder
from pipelines.models.folder import positions, read_folder
from pipelines.models.sources import MINILM, model_folder
from pipelines.steps.refresh_embeddings import export_encoder
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.tiny_models import tiny_bert, with_first_token

TEXTS = ["Red LAMP", "a small oak table", "word " * 60]
HIDDEN = 16


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    """A BERT of random weights with MiniLM's tokenizer: its vectors mean nothing, and it is exported in seconds."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("body")
    torch.manual_seed(0)
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=64, **sizes)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copyfile(model_folder(MINILM) / name, folder / name)
    return folder


def saved(body, target, modules, **said):
    """The folder that the library itself writes for these modules."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer

    library = SentenceTransformer(modules=[Transformer(str(body), max_seq_length=32), *modules], device="cpu", **said)
    library.save(str(target))
    return target


def changed(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def by_library(folder, prompt=""):
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return library.encode(TEXTS, prompt=prompt, normalize_embeddings=True)


def exported(folder, **options):
    made = call("export_encoder", model=str(folder), **options)
    return made, load_exactly(open_store(), "encoder", made.encoder)


def recipe_of(folder, **options):
    """The recipe of the encoder that `exported` makes, without making it."""
    read, params = read_folder(folder), export_encoder.ExportEncoderParams(**options)
    return export_encoder._recipe(params, read, read.model / "tokenizer.json", None)


def agrees(encoder, folder, variant="onnx-fp32", query="", document=""):
    loaded = load_encoder(encoder, variant, 1)
    np.testing.assert_allclose(loaded.encode(TEXTS, "document"), by_library(folder, document), atol=1e-5)
    np.testing.assert_allclose(loaded.encode(TEXTS, "query"), by_library(folder, query), atol=1e-5)


def test_pooling_by_the_first_token_as_the_folder_says(home, body, tmp_path):
    from sentence_transformers.base.modules.normalize import Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = saved(body, tmp_path / "cls", [Pooling(HIDDEN, "cls"), Normalize()])
    made, encoder = exported(folder)
    agrees(encoder, folder)
    fingerprint = card_of(encoder).fingerprint
    assert (fingerprint.pooling, fingerprint.max_length, made.dimensions) == ("cls", 32, HIDDEN)
    assert made.deviation < 1e-5
    with pytest.raises(InputError, match=r"--pooling mean for .*cls, which pools by cls; expected the folder's own"):
        call("export_encoder", model=str(folder), pooling="mean")
    mean = saved(body, tmp_path / "mean", [Pooling(HIDDEN, "mean"), Normalize()])
    assert exported(mean)[0].encoder != made.encoder


def test_all_poolings_dense_layers_and_prompts(home, body, tmp_path):
    import torch
    from sentence_transformers.base.modules.dense import Dense
    from sentence_transformers.base.modules.normalize import Normalize
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

    modes = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    torch.manual_seed(1)
    modules = [
        Pooling(HIDDEN, modes),
        Dense(6 * HIDDEN, 24, activation_function=torch.nn.GELU()),
        Normalize(),
        LayerNorm(24),
        Dense(24, 24, bias=False, activation_function=torch.nn.Identity(), use_residual=True),
        Dense(24, 12, use_residual=True),
    ]
    prompts = {"query": "Find: ", "passage": "Text: "}
    folder = saved(body, tmp_path / "many", modules, prompts=prompts)
    made, encoder = exported(folder, variants=["torch-fp32"])
    agrees(encoder, folder, "onnx-fp32", query="Find: ", document="Text: ")
    agrees(encoder, folder, "torch-fp32", query="Find: ", document="Text: ")
    assert made.dimensions == 12
    assert all(variant.deviation < 1e-5 for variant in card_of(encoder).variants.values())
    assert recipe_of(folder, variants=["torch-fp32"]).id == made.encoder
    assert export_encoder._fingerprint(recipe_of(folder)) == card_of(encoder).fingerprint
    own = export_encoder._fingerprint(recipe_of(folder, query_prefix="Q: ", document_prefix="", max_length=16))
    assert (own.query_prefix, own.document_prefix, own.max_length) == ("Q: ", "", 16)
    before = read_folder(folder).layers
    changed(next(folder.glob("2_*")), "config.json", activation_function="torch.nn.modules.activation.ReLU")
    assert recipe_of(folder, variants=["torch-fp32"]).id != made.encoder, "an activation belongs to the encoder"
    assert read_folder(folder).layers != before


def test_lowered_letters_as_the_folder_says(home, body, tmp_path):
    from sentence_transformers.base.modules.normalize import Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    cased = Path(shutil.copytree(body, tmp_path / "cased"))
    tokenizer = json.loads((cased / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (cased / "tokenizer.json").write_text(json.dumps(tokenizer))
    changed(cased, "tokenizer_config.json", do_lower_case=False)
    folder = saved(cased, tmp_path / "lowered", [Pooling(HIDDEN, "mean"), Normalize()])
    plain = exported(folder)[0].encoder
    changed(folder, "sentence_bert_config.json", do_lower_case=True)
    made, encoder = exported(folder)
    assert made.encoder != plain
    agrees(encoder, folder)
    loaded = load_encoder(encoder, "onnx-fp32", 1)
    np.testing.assert_array_equal(loaded.encode(["RED Lamp"], "query"), loaded.encode(["red lamp"], "query"))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("2_Dense/config.json", {"activation_function": "mine.Sine"}, "activation mine.Sine"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "Dense of sentence_embedding, token_embeddings"),
        ("1_Pooling/config.json", {"pooling_mode": "attention"}, "pooling attention"),
        ("1_Pooling/config.json", {"include_prompt": False}, "without the prompt's tokens"),
        ("sentence_bert_config.json", {"query_length": 8}, "query_length 8 of the transformer"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, 'transformer_task "fill-mask"'),
        (
            "config_sentence_transformers.json",
            {"similarity_fn_name": "dot"},
            "similarity dot of vectors that are not of length 1",
        ),
    ],
)
def test_what_cannot_be_carried_over_is_named(name, values, message, home, body, tmp_path):
    from sentence_transformers.base.modules.dense import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling

    said = {"prompts": {"query": "Find: "}}
    folder = saved(body, tmp_path / "one", [Pooling(HIDDEN, "mean"), Dense(HIDDEN, 8)], **said)
    assert read_folder(folder).query_prefix == "Find: "
    changed(folder, name, **values)
    with pytest.raises(InputError, match=message):
        call("export_encoder", model=str(folder))
    assert not list(home.rglob("manifest.json"))


def test_an_unknown_module_is_named(home, body, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = saved(body, tmp_path / "one", [Pooling(HIDDEN, "mean")])
    modules = json.loads((folder / "modules.json").read_text())
    more = {"idx": 2, "name": "2", "path": "2_CNN", "type": "sentence_transformers.models.CNN"}
    (folder / "modules.json").write_text(json.dumps([*modules, more]))
    with pytest.raises(InputError, match=r"module sentence_transformers\.models\.CNN; expected a Transformer, a Pooling, then"):
        call("export_encoder", model=str(folder))
    (folder / "modules.json").write_text("[{]")
    with pytest.raises(InputError, match=r"modules\.json: .*; expected JSON"):
        call("export_encoder", model=str(folder))


def test_a_plain_model_keeps_as_many_tokens_as_it_has_positions(home, tmp_path):
    folder = tiny_bert(tmp_path / "plain")
    encoder = load_exactly(open_store(), "encoder", call("export_encoder", model=str(folder)).encoder)
    assert card_of(encoder).fingerprint.max_length == 64
    assert len(load_encoder(encoder, "onnx-fp32").tokens(["lamp " * 100], "document")[0]) == 64
    with pytest.raises(InputError, match=r"--max-length 100 .* at most 64"):
        call("export_encoder", model=str(folder), max_length=100)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_folders_own_code_is_no_module_of_the_library_whatever_its_name(tmp_path, place):
    names = [f"sentence_transformers.models.{kind}" for kind in ("Transformer", "Pooling", "Dropout")]
    names[place] = "mine." + names[place].rpartition(".")[2]
    (tmp_path / "modules.json").write_text(json.dumps([{"type": name, "path": str(row)} for row, name in enumerate(names)]))
    with pytest.raises(InputError, match=rf"module {names[place]}; expected a Transformer, a Pooling, then"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", '{"0": 1}'),
        ("config.json", "[]"),
        ("1_Pooling/config.json", '"mean"'),
        ("1_Pooling/config.json", '{"pooling_mode": 3}'),
        ("sentence_bert_config.json", '{"max_seq_length": "long"}'),
        ("config_sentence_transformers.json", '{"prompts": ["Find: "]}'),
        ("config_sentence_transformers.json", '{"prompts": {"query": 3}}'),
    ],
)
def test_a_file_that_the_library_would_not_write_is_refused_in_a_sentence(tmp_path, name, content):
    folder = tiny_bert(tmp_path / "model")
    with_first_token(folder)
    assert read_folder(folder).pooling == "cls"
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=r"expected .*; next: "):
        read_folder(folder)


def test_positions_after_the_padding_tokens_are_counted(tmp_path):
    for described, most in (
        ({"model_type": "bert", "max_position_embeddings": 130}, 130),
        ({"model_type": "roberta", "max_position_embeddings": 130}, 128),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "deberta", "max_position_embeddings": -1}, 512),
    ):
        (tmp_path / "config.json").write_text(json.dumps(described))
        assert positions(tmp_path) == most


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"truncation_side": "left"}, "variant onnx-fp32, which differs from its weights by"),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": None}, "expected a vector of each text by the folder's"),
    ],
)
def test_a_tokenizer_that_reads_otherwise_is_refused(home, body, tmp_path, values, message):
    folder = Path(shutil.copytree(body, tmp_path / "own"))
    with_first_token(folder)
    changed(folder, "tokenizer_config.json", **values)
    with pytest.raises(InputError, match=message):
        call("export_encoder", model=str(folder))
    assert not list(home.rglob("manifest.json"))
