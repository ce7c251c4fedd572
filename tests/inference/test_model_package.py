import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import model_package
from inference.fold import fold
from inference.model_package import HEADING, ModelPackage, PackageRefused, demo_package, pack
from sync.chain import SignerKey, VerifierKey, sign_note
from tests.support.packages import KEY, opened, signed, tiny_files, trusting
from tests.support.tiny_network import CLASSES, HEIGHT_PX, WIDTH_PX, float_network


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return tiny_files(fold(float_network()))


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[[bytes], ModelPackage]:
    def open_archive(archive: bytes) -> ModelPackage:
        path = tmp_path / "tried.agmodel"
        path.write_bytes(archive)
        return ModelPackage.open(path, trusting(KEY.verifier()))

    return open_archive


def rezipped(archive: bytes, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> bytes:
    """The archive's files written again by `change`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            change(new, name, old.read(name))
    return buffer.getvalue()


def test_a_whole_package_opens_and_says_what_it_is(tmp_path: Path, files: dict[str, bytes]) -> None:
    package = opened(tmp_path, files)
    assert (package.name, package.version, package.classes) == ("tiny", "1.2.3", CLASSES)
    assert package.input_size == (HEIGHT_PX, WIDTH_PX)
    assert (package.thresholds.ng, package.thresholds.check) == (0.5, 0.35)
    assert package.model == files["model.onnx"]
    assert [sample.name for sample in package.golden] == ["grey.jpg"]


def test_the_same_content_is_the_same_file(files: dict[str, bytes]) -> None:
    assert pack(files, signed) == pack(dict(reversed(files.items())), signed)


@pytest.mark.parametrize("name", ["model.onnx", "package.toml", "golden/grey.jpg", "golden/expected.json"])
def test_a_file_changed_after_signing_is_refused_by_name(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes], name: str
) -> None:
    def flip(new: zipfile.ZipFile, entry: str, content: bytes) -> None:
        new.writestr(entry, content[:-1] + bytes([content[-1] ^ 1]) if entry == name else content)

    with pytest.raises(PackageRefused, match=rf"tried\.agmodel: {name} was changed after signing"):
        attempt(rezipped(pack(files, signed), flip))


def test_a_file_added_after_signing_is_refused(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    def add(new: zipfile.ZipFile, entry: str, content: bytes) -> None:
        new.writestr(entry, content)
        if entry == "MANIFEST":
            new.writestr("golden/more.jpg", b"x")

    with pytest.raises(PackageRefused, match=r"differ \(golden/more\.jpg\)"):
        attempt(rezipped(pack(files, signed), add))


def test_a_package_signed_by_another_key_is_refused(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    other = SignerKey(KEY.name, Ed25519PrivateKey.generate())
    with pytest.raises(PackageRefused, match="its signature does not hold"):
        attempt(pack(files, lambda body: sign_note(body, other)))


def test_a_package_without_a_manifest_is_refused(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    def leave_out(new: zipfile.ZipFile, entry: str, content: bytes) -> None:
        if entry != "MANIFEST":
            new.writestr(entry, content)

    with pytest.raises(PackageRefused, match="nobody vouches for it"):
        attempt(rezipped(pack(files, signed), leave_out))


def test_a_manifest_of_another_format_is_refused(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    later = pack(files, lambda body: signed(body.replace(HEADING.encode(), b"alumiguard model package 2")))
    with pytest.raises(PackageRefused, match="update this box"):
        attempt(later)


def test_a_truncated_package_is_refused_wherever_it_ends(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    archive = pack(files, signed)
    for length in (0, 1, 100, len(archive) // 2, len(archive) - 1):
        with pytest.raises(PackageRefused):
            attempt(archive[:length])


def test_a_package_over_the_size_limit_is_refused_unread(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_package, "MAX_ARCHIVE_BYTES", 1000)
    with pytest.raises(PackageRefused, match="over the limit of 1000 bytes"):
        opened(tmp_path, files)


def test_a_compressed_package_is_refused_before_anything_is_unpacked(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    def bomb(new: zipfile.ZipFile, entry: str, content: bytes) -> None:
        new.writestr(entry, content if entry == "MANIFEST" else bytes(10_000_000), zipfile.ZIP_DEFLATED)

    with pytest.raises(PackageRefused, match="is compressed"):
        attempt(rezipped(pack(files, signed), bomb))


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "golden/../../evil", "a/b", "golden\\x", ".hidden"]
)
def test_a_path_that_leads_elsewhere_is_refused(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes], name: str
) -> None:
    with pytest.raises(PackageRefused, match="it holds a file of the name"):
        attempt(pack({**files, name: b"x"}, signed))


def test_a_package_of_too_many_files_is_refused(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    many = {f"golden/{number}.jpg": b"x" for number in range(80)}
    with pytest.raises(PackageRefused, match="64 are allowed"):
        attempt(pack(files | many, signed))


def test_two_files_of_one_name_are_refused(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    def twice(new: zipfile.ZipFile, entry: str, content: bytes) -> None:
        new.writestr(entry, content)
        if entry == "model.onnx":
            with pytest.warns(UserWarning, match="Duplicate name"):
                new.writestr(entry, b"another")

    with pytest.raises(PackageRefused, match="share a name"):
        attempt(rezipped(pack(files, signed), twice))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"format = 1", b"format = 2", "format"),
        (b"check = 0.35", b"check = 0.75", "above ng"),
        (b'name = "tiny"', b'name = "Not A Name"', "name"),
        (b"height_px = 64", b"height_px = 0", "height_px"),
        (b'licence = "Apache-2.0"', b"", "licence"),
        (b"[metrics]", b"[unheard_of]\n[metrics]", "unheard_of"),
        (b"format = 1", b"format = = 1", "package.toml"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_with_the_reason(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes], old: bytes, new: bytes, reason: str
) -> None:
    described = files["package.toml"].replace(old, new)
    with pytest.raises(PackageRefused, match=reason):
        attempt(pack({**files, "package.toml": described}, signed))


@pytest.mark.parametrize(
    "expected", [b"[]", b"{", b'{"gone.jpg": []}', b'{"grey.jpg": [{"label": "dent"}]}', b"\xff"]
)
def test_expectations_that_do_not_fit_the_golden_pictures_are_refused(
    attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes], expected: bytes
) -> None:
    with pytest.raises(PackageRefused, match=r"golden/expected\.json"):
        attempt(pack({**files, "golden/expected.json": expected}, signed))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_damage_gets_through_and_none_raises_anything_else(
    data: st.DataObject, attempt: Callable[[bytes], ModelPackage], files: dict[str, bytes]
) -> None:
    archive = bytearray(pack(files, signed))
    whole = attempt(bytes(archive))
    at = data.draw(st.integers(0, len(archive) - 1))
    archive[at] ^= data.draw(st.integers(1, 255))
    try:
        damaged = attempt(bytes(archive))
    except PackageRefused:
        return
    # A byte that means nothing (a time stamp in the zip's directory) changes the file's digest alone.
    assert (damaged.model, damaged.description, damaged.golden) == (
        whole.model,
        whole.description,
        whole.golden,
    )
    assert damaged.sha256 != whole.sha256


def test_the_shipped_package_opens_with_the_key_beside_it() -> None:
    path, key = demo_package()
    package = ModelPackage.open(path, trusting(VerifierKey.parse(key)))
    assert package.name == "surface-demo"
    assert set(package.classes) == {"scratch", "pinhole", "stain", "dent", "edge_crack", "streak"}
    assert package.description.licence == "AGPL-3.0"
    assert path.stat().st_size < 11_000_000
