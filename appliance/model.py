"""Which model package judges, and whose signature it must carry."""

from collections.abc import Callable, Iterable
from pathlib import Path

from appliance.config import ModelSection
from inference.model_package import ModelPackage, demo_package
from sync.chain import NoteError, VerifierKey, open_note


def open_package(section: ModelSection) -> ModelPackage:
    """Open and check the configured package; "demo" is the one that ships with the product.

    Raises:
        PackageRefused: if it is not whole, not signed by a trusted key, or not a package.
        OSError: if the package or a key file cannot be read.
    """
    demo_path, demo_key = demo_package()
    keys = [VerifierKey.parse(file.read_text()) for file in section.trusted_key_files]
    path = demo_path if section.package == "demo" else Path(section.package)
    return ModelPackage.open(path, signed_by([*keys, VerifierKey.parse(demo_key)]))


def signed_by(keys: Iterable[VerifierKey]) -> Callable[[bytes], bytes]:
    """A check that takes a signed note and gives its body if one of the keys has signed it."""
    trusted = list(keys)

    def verify(note: bytes) -> bytes:
        refusals = []
        for key in trusted:
            try:
                return open_note(note, key)
            except NoteError as error:
                refusals.append(str(error))
        raise NoteError("; ".join(refusals) or "no key is trusted: name one under model.trusted_key_files")

    return verify
