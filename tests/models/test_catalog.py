"""The catalog: what is offered, by which ids, and what an owner's own file may say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from api.catalog import (
    COMMIT_PATTERN,
    AdapterEntry,
    AmbiguousModel,
    Catalog,
    CatalogError,
    EmbeddingEntry,
    ModelEntry,
    UnknownAdapter,
    UnknownEmbedding,
    UnknownModel,
    is_model_id,
    load_catalog,
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def write(folder: Path, text: str) -> Path:
    file = folder / "owner.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "model_id",
    ["starter", "stable-diffusion-v1-5", "stable-diffusion-v2-1", "dreamshaper-8", "sdxl-base-1.0", "openjourney-v4"],
)
def test_ids_that_clients_send_are_there(catalog: Catalog, model_id: str) -> None:
    assert catalog.get(model_id).id == model_id


def test_a_hub_repositorys_own_name_is_the_same_model(catalog: Catalog) -> None:
    assert catalog.get("stabilityai/stable-diffusion-xl-base-1.0") is catalog.get("sdxl-base-1.0")


def test_an_unknown_model_names_the_nearest(catalog: Catalog) -> None:
    with pytest.raises(UnknownModel, match=r"no model 'SDXL-base'\. Did you mean sdxl-base-1\.0") as caught:
        catalog.get("SDXL-base")
    assert caught.value.nearest[0] == "sdxl-base-1.0"


def test_an_unknown_adapter_names_the_nearest(catalog: Catalog) -> None:
    with pytest.raises(UnknownAdapter, match="lcm-lora-sdxl"):
        catalog.adapter("lcm-lora-sdlx")


def test_every_entry_says_what_people_need_to_know(catalog: Catalog) -> None:
    for entry in catalog.models.values():
        assert entry.licence != "unknown"
        assert entry.family
        assert entry.id in ("lanczos", "nearest") or entry.parameters > 0
        assert not entry.parameters or 1.9 <= entry.memory / entry.parameters <= 2.1
        assert (entry.repo is None) != (entry.path is None)
        assert entry.revision is None or re.fullmatch(COMMIT_PATTERN, entry.revision)


def test_licences_without_commercial_use_say_so(catalog: Catalog) -> None:
    assert all("no commercial use" in catalog.get(model_id).licence for model_id in ("sd-turbo", "sdxl-turbo"))


def test_models_are_listed_by_task(catalog: Catalog) -> None:
    assert catalog.get("starter") in catalog.of_task("text-to-image")
    assert all(entry.task == "text-to-image" for entry in catalog.of_task("text-to-image"))


def test_an_adapter_fits_its_bases_only(catalog: Catalog) -> None:
    assert [adapter.id for adapter in catalog.adapters_for("dreamshaper-8")] == ["lcm-lora-sdv1-5"]
    assert [adapter.id for adapter in catalog.adapters_for("sdxl-base-1.0")] == ["lcm-lora-sdxl"]
    assert catalog.adapters_for("flux.1-schnell") == []


def test_an_adapter_without_bases_fits_its_family() -> None:
    adapter = AdapterEntry(id="style", name="Style", family="sd1", path=Path("style.safetensors"))
    assert adapter.fits(ModelEntry(id="a", name="A", family="sd1"))
    assert not adapter.fits(ModelEntry(id="b", name="B", family="sdxl"))


def test_the_starter_is_here(catalog: Catalog) -> None:
    starter = catalog.get("starter")
    assert starter.path is not None
    assert (starter.path / "model_index.json").exists()


@pytest.mark.parametrize("value", ["a", "team/model", "a.b-c_d/1/x", "Gemma-3n-E2B-it-ONNX/Q4_MIXED"])
def test_these_are_model_ids(value: str) -> None:
    assert is_model_id(value)


@pytest.mark.parametrize(
    "value", ["", "..", "a/../b", "/a", "a/", "a//b", "a/b/c/d", "http://a", "a:1", "a b", "-a", ".a", "a\n"]
)
def test_these_are_no_model_ids(value: str) -> None:
    assert not is_model_id(value)


def test_an_owner_adds_a_folder_and_a_repository(tmp_path: Path) -> None:
    extra = '[models."mine"]\npath = "checkpoints/mine"\nfamily = "sd1"\n[models."theirs"]\nrepo = "team/model"\n'
    catalog = load_catalog(write(tmp_path, extra))
    assert catalog.get("mine").path == tmp_path / "checkpoints/mine"
    assert catalog.get("mine").source == "local"
    assert catalog.get("theirs").source == "https://huggingface.co/team/model"
    assert (catalog.get("theirs").name, catalog.get("theirs").default_size) == ("theirs", 512)


def test_an_owners_table_replaces_ours(tmp_path: Path) -> None:
    catalog = load_catalog(write(tmp_path, '[models."dreamshaper-8"]\nrepo = "team/fork"\ndefault_steps = 12\n'))
    assert (catalog.get("dreamshaper-8").repo, catalog.get("dreamshaper-8").default_steps) == ("team/fork", 12)


def test_an_owner_adds_an_adapter(tmp_path: Path) -> None:
    catalog = load_catalog(
        write(tmp_path, '[adapters.style]\npath = "style.safetensors"\nbase = ["starter"]\ntrigger = "inky"\n')
    )
    assert catalog.adapter("style").path == tmp_path / "style.safetensors"
    assert [adapter.id for adapter in catalog.adapters_for("starter")][-1] == "style"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[models", "not valid TOML"),
        ("[model.a]\n", r"unknown table \[model\]"),
        ("models = 3\n", '"models" must be tables'),
        ("[models]\na = 3\n", r'\[models\."a"\]: must be a table'),
        ('[models."a/../b"]\nrepo = "a/b"\n', "one to three segments"),
        ("[models.a]\n", '"path" must be given, one of them'),
        ('[models.a]\nrepo = "a/b"\npath = "x"\n', "one of them"),
        ('[models.a]\nrepo = "https://a/b"\n', '"repo" must be a hub repository'),
        ('[models.a]\nrepo = "a/b"\nsteps = 3\n', '"steps" is not a key'),
        ('[models.a]\nrepo = "a/b"\ndefault_step = 3\n', "did you mean default_steps"),
        ('[models.a]\nrepo = "a/b"\ndefault_steps = "3"\n', '"default_steps" must be a number without a fraction'),
        ('[models.a]\nrepo = "a/b"\ndefault_steps = true\n', "must be a number"),
        ('[models.a]\nrepo = "a/b"\ndefault_guidance_scale = nan\n', "must be a number"),
        ('[models.a]\nrepo = "a/b"\ndefault_size = 500\n', "multiple of 8"),
        ('[models.a]\nrepo = "a/b"\ndefault_steps = 0\n', "from 1 to 150"),
        ('[models.a]\nrepo = "a/b"\nmax_batch = 0\n', "from 1 to 64"),
        ('[models.a]\nrepo = "a/b"\nguidance_rescale = 1.5\n', "guidance_rescale.* from 0 to 1"),
        ('[models.a]\nrepo = "a/b"\ngated = "yes"\n', "true or false"),
        ('[models.a]\nrepo = "a/b"\nfiles = "x"\n', "a list of texts"),
        ('[models.a]\nrepo = "a/b"\nrevision = "main"\n', "full commit of 40"),
        ('[models.a]\nrepo = "a/b"\nvariant = "../x"\n', "a variant's name"),
        ('[models.a]\nrepo = "a/b"\ntask = "draw"\n', "must be one of text-to-image"),
        ('[adapters.a]\nrepo = "a/b"\nfilename = "x.safetensors"\n', "which models it fits"),
        ('[adapters.a]\nrepo = "a/b"\nfamily = "sd1"\n', '"filename" must name'),
        ('[adapters.a]\nrepo = "a/b"\nfamily = "sd1"\nfilename = "../x.safetensors"\n', "safetensors file in the repository"),
        ('[adapters.a]\nrepo = "a/b"\nfamily = "sd1"\nfilename = "x.bin"\n', "safetensors file in the repository"),
        ('[adapters.a]\npath = "x.pt"\nfamily = "sd1"\n', '"path" must be a safetensors file'),
    ],
)
def test_a_wrong_file_is_told_with_file_table_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(CatalogError, match=complaint) as caught:
        load_catalog(write(tmp_path, text))
    assert "owner.toml" in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nowhere\.toml can't be read: No such file"):
        load_catalog(tmp_path / "nowhere.toml")


def test_a_model_may_stand_on_another(tmp_path: Path) -> None:
    extra = write(tmp_path, '[models.head]\npath = "head"\ntask = "aesthetic-head"\nfamily = "laion"\nbase = "starter-clip"\n')
    assert load_catalog(extra).get("head").base == "starter-clip"


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    extra = write(tmp_path, '[models.head]\npath = "head"\nbase = "starter-clop"\n')
    with pytest.raises(
        CatalogError, match=r"\"base\" is 'starter-clop', and there is no such model; did you mean starter-clip"
    ):
        load_catalog(extra)


def test_a_base_that_stands_on_another_is_refused(tmp_path: Path) -> None:
    extra = write(tmp_path, '[models.head]\npath = "head"\nbase = "uiclip"\n')
    with pytest.raises(CatalogError, match="which stands on another model itself"):
        load_catalog(extra)


def test_all_that_a_model_needs_is_the_model_and_its_base(catalog: Catalog) -> None:
    assert [entry.id for entry in catalog.with_base(catalog.get("uiclip"))] == ["uiclip", "clip-vit-base-patch32"]
    assert catalog.with_base(catalog.get("starter")) == [catalog.get("starter")]


class OneFile:
    """A source with one model file and one embedding, as api/library has them."""

    model = ModelEntry(id="sd1/my-model", name="my model", path=Path("my model.safetensors"), single_file=True, family="sd1")
    lora = AdapterEntry(id="inks", name="inks", family="sd1", path=Path("inks.safetensors"))
    vectors = EmbeddingEntry(id="easy", name="easy", path=Path("easy.safetensors"), family="sd1")

    def find_model(self, name: str) -> ModelEntry | None:
        if name == "two":
            raise AmbiguousModel(name, ["a", "b"])
        return self.model if name in (self.model.id, "my model.safetensors", "starter") else None

    def find_adapter(self, name: str) -> AdapterEntry | None:
        return self.lora if name == "inks" else None

    def find_embedding(self, name: str) -> EmbeddingEntry | None:
        return self.vectors if name == "easy" else None

    def find_part(self, kind: str, name: str) -> Path | None:
        return None

    def models(self, task: str) -> list[ModelEntry]:
        return [self.model] if task == "text-to-image" else []

    def adapters(self, family: str) -> list[AdapterEntry]:
        return [self.lora] if family == "sd1" else []

    def embeddings(self, family: str) -> list[EmbeddingEntry]:
        return [self.vectors] if family == "sd1" else []

    def why_not(self, name: str) -> str:
        return "old.ckpt is a pickle." if name == "old.ckpt" else ""

    def similar(self, kind: str, name: str) -> list[str]:
        return [self.model.id] if kind == "model" and name == "sd1/my" else []


@pytest.fixture
def with_source(catalog: Catalog) -> Catalog:
    return dataclasses.replace(catalog, source=OneFile())


def test_a_source_is_asked_at_each_look_up(with_source: Catalog) -> None:
    assert with_source.get("my model.safetensors").id == "sd1/my-model"
    assert with_source.find_model("nothing") is None
    assert with_source.adapter("inks").id == "inks"
    assert with_source.embedding("easy").id == "easy"
    assert with_source.find_embedding("horse") is None


def test_a_table_beats_a_file_of_the_same_name(with_source: Catalog, catalog: Catalog) -> None:
    assert with_source.get("starter") == catalog.get("starter")


def test_what_a_source_has_is_offered_with_the_tables(with_source: Catalog) -> None:
    assert OneFile.model in with_source.of_task("text-to-image")
    assert OneFile.lora in with_source.adapters_for("sd1/my-model")
    assert OneFile.lora not in with_source.adapters_for("sdxl-base-1.0")
    assert with_source.embeddings_for("starter") == [OneFile.vectors]


def test_a_name_of_two_files_names_their_ids(with_source: Catalog) -> None:
    with pytest.raises(UnknownModel, match=r"several files.*: a, b\."):
        with_source.get("two")


def test_a_file_that_cant_be_used_says_why(with_source: Catalog) -> None:
    with pytest.raises(UnknownModel, match=r"^old.ckpt is a pickle\.$"):
        with_source.get("old.ckpt")


def test_ids_of_a_source_are_proposed(with_source: Catalog) -> None:
    with pytest.raises(UnknownModel, match="Did you mean sd1/my-model"):
        with_source.get("sd1/my")


def test_an_embedding_is_a_table_too(tmp_path: Path) -> None:
    read = load_catalog(
        write(tmp_path, '[embeddings.easy]\npath = "easy.safetensors"\nfamily = "sd1"\naliases = ["EasyNegative"]')
    )
    assert read.embedding("EasyNegative") == read.embeddings["easy"]
    assert read.embedding("easy").path == tmp_path / "easy.safetensors"
    with pytest.raises(UnknownEmbedding, match=r"There is no embedding 'eas'\. Did you mean easy"):
        read.embedding("eas")


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('[embeddings.easy]\npath = "easy.pt"\nfamily = "sd1"', '"path" must be a safetensors file'),
        ('[embeddings.easy]\npath = "easy.safetensors"', '"family" must say which models it fits'),
        (
            '[models.one]\npath = "one.ckpt"\nsingle_file = true',
            '"single_file" goes with a "path" that is a safetensors or GGUF file',
        ),
        ('[models.one]\npath = "one"\nprediction = "v"', '"prediction" must be one of epsilon, v_prediction'),
    ],
)
def test_a_wrong_table_of_a_file_is_named(tmp_path: Path, table: str, complaint: str) -> None:
    with pytest.raises(CatalogError, match=re.escape(complaint)):
        load_catalog(write(tmp_path, table))
