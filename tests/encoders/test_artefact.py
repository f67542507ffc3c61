import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from encoders.artefact import check_artefact, check_target, read_manifest, read_personas, write_artefact
from encoders.errors import ArtefactError
from encoders.serving import Encoder


@pytest.fixture
def copy(small: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small.folder, tmp_path / "encoder"))


def test_the_manifest_says_where_the_encoder_comes_from(small: Any) -> None:
    fields = read_manifest(small.folder).fields
    assert set(fields) >= {"codebook_version", "feature_spec", "files", "metrics", "training_data", "seed", "libraries"}
    assert fields["training_data"]["sessions"] == len(small.training)
    assert set(fields["files"]) == {"encoder.onnx", "codebook.npz", "personas.json"}


def test_the_version_is_a_function_of_the_content(small: Any, copy: Path) -> None:
    again = write_artefact(copy, small.fitted.network, small.fitted.codebook, small.fitted.personas, {})
    assert again.codebook_version == read_manifest(small.folder).codebook_version
    other = write_artefact(copy, small.fitted.network + b"\x00", small.fitted.codebook, small.fitted.personas, {})
    assert other.codebook_version != again.codebook_version


@pytest.mark.parametrize("name", ["encoder.onnx", "codebook.npz", "personas.json"])
def test_an_altered_file_is_named(name: str, copy: Path) -> None:
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtefactError, match=f"{name}: hash differs from the manifest's"):
        Encoder.load(copy)


@pytest.mark.parametrize("name", ["encoder.onnx", "codebook.npz", "personas.json"])
def test_a_missing_file_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name}: missing from the encoder"):
        Encoder.load(copy)


def test_a_folder_without_a_manifest_is_no_encoder(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(ArtefactError, match="no encoder there"):
        Encoder.load(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"codebook_version": 1'])
def test_a_damaged_manifest_is_one_sentence(text: str, copy: Path) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"manifest\.json: not an encoder's manifest"):
        Encoder.load(copy)


def test_an_encoder_of_other_features_is_refused(copy: Path) -> None:
    fields = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**fields, "feature_spec": "other"}))
    with pytest.raises(ArtefactError, match="trained on other features"):
        check_artefact(copy)


def test_a_simulator_is_no_encoder_to_replace(tmp_path: Path) -> None:
    for name in ("manifest.json", "vocabulary.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ArtefactError, match="holds something that is no encoder"):
        check_target(tmp_path)


def test_a_folder_with_something_else_is_left_alone(small: Any, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(ArtefactError, match="holds something that is no encoder"):
        check_target(tmp_path)
    with pytest.raises(ArtefactError, match="holds something that is no encoder"):
        write_artefact(tmp_path, small.fitted.network, small.fitted.codebook, small.fitted.personas, {})
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_writing_replaces_an_encoder_and_leaves_nothing_beside_it(small: Any, copy: Path) -> None:
    write_artefact(copy, small.fitted.network, small.fitted.codebook, small.fitted.personas, {"note": "second"})
    assert check_artefact(copy).fields["note"] == "second"
    assert [path.name for path in copy.parent.iterdir()] == ["encoder"]


def test_a_failed_write_leaves_the_old_encoder(small: Any, copy: Path) -> None:
    with pytest.raises(TypeError):
        write_artefact(copy, small.fitted.network, small.fitted.codebook, {"personas": object()}, {})
    assert check_artefact(copy).codebook_version == read_manifest(small.folder).codebook_version
    assert [path.name for path in copy.parent.iterdir()] == ["encoder"]


def test_a_place_that_cannot_be_written_is_one_sentence(small: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="the encoder cannot be written"):
        write_artefact(tmp_path / "file" / "x", small.fitted.network, small.fitted.codebook, small.fitted.personas, {})


def test_personas_cover_every_code(small: Any) -> None:
    personas = read_personas(small.folder)
    assert personas["codebook_version"] == read_manifest(small.folder).codebook_version
    assert [persona["code"] for persona in personas["codes"]] == list(range(12))
    assert [persona["code_path"] for persona in personas["coarse"]] == [f"c{index:02d}" for index in range(6)]
