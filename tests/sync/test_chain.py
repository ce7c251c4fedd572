import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sync import chain

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The reference trees of RFC 6962, as in google/certificate-transparency and transparency-dev/merkle."""

NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ryy"
    "BwJnAM=\n"
)
NOTE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The example of golang.org/x/mod/sumdb/note."""

KEY = chain.SignerKey("alumiguard/line-1/epoch", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = chain.SignerKey("receiver.example", Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
CHECKPOINT = chain.Checkpoint(KEY.name, 7, bytes(32), bytes(range(32)))


def test_the_tree_is_that_of_rfc_6962() -> None:
    frontier = chain.Frontier()
    assert frontier.root().hex() == sha256(b"").hexdigest()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        frontier = frontier.append(chain.leaf_hash(leaf))
        assert frontier.root().hex() == root


@given(st.integers(0, 70))
def test_a_kept_frontier_reads_back(size: int) -> None:
    frontier = chain.Frontier()
    for number in range(size):
        frontier = frontier.append(chain.leaf_hash(str(number).encode()))
    assert chain.Frontier.from_bytes(frontier.to_bytes()) == frontier


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frontier_or_a_value_error(stored: bytes) -> None:
    try:
        assert chain.Frontier.from_bytes(stored).to_bytes() == stored
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


def test_a_note_that_go_signed_opens() -> None:
    key = chain.VerifierKey.parse(NOTE_KEY)
    assert str(key) == NOTE_KEY
    assert chain.open_note(NOTE.encode(), key).decode() == NOTE.partition("\n\n")[0] + "\n"
    with pytest.raises(chain.NoteError, match="was changed"):
        chain.open_note(NOTE.replace("answer", "reason").encode(), key)


def test_what_was_signed_and_cosigned_opens_with_the_right_keys_only() -> None:
    note = chain.cosign(chain.sign_note(CHECKPOINT.body(), KEY), WITNESS, 1_772_366_400)
    assert chain.open_note(note, KEY.verifier()) == CHECKPOINT.body()
    assert chain.parse_checkpoint(chain.note_body(note)) == CHECKPOINT
    body, seconds = chain.open_cosignature(note, WITNESS.verifier(chain.ALG_COSIGNATURE))
    assert (body, seconds) == (CHECKPOINT.body(), 1_772_366_400)
    stranger = chain.SignerKey(WITNESS.name, Ed25519PrivateKey.generate())
    with pytest.raises(chain.NoteError, match="no cosignature"):
        chain.open_cosignature(note, stranger.verifier(chain.ALG_COSIGNATURE))
    with pytest.raises(chain.NoteError, match="no signature"):
        chain.open_note(note, stranger.verifier())


def open_both(note: bytes) -> None:
    chain.open_note(note, KEY.verifier())
    chain.open_cosignature(note, WITNESS.verifier(chain.ALG_COSIGNATURE))


def test_no_bit_of_a_cosigned_note_can_be_flipped() -> None:
    note = chain.cosign(chain.sign_note(CHECKPOINT.body(), KEY), WITNESS, 1_772_366_400)
    for bit in range(len(note) * 8):
        flipped = bytearray(note)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(chain.NoteError):
            open_both(bytes(flipped))


_note_like = st.builds(
    lambda body, name, blob: f"{body}\n\n— {name} {base64.b64encode(blob).decode()}\n".encode(),
    st.text(max_size=80),
    st.text(max_size=20),
    st.binary(max_size=90),
)


@given(st.one_of(st.binary(max_size=300), _note_like))
def test_any_bytes_are_no_note_of_ours(note: bytes) -> None:
    with pytest.raises(chain.NoteError):
        chain.open_note(note, KEY.verifier())
    with pytest.raises(chain.NoteError):
        chain.open_cosignature(note, WITNESS.verifier(chain.ALG_COSIGNATURE))


_checkpoint_like = st.builds(
    lambda *parts: "\n".join(parts).encode(errors="surrogatepass"),
    st.text(max_size=30),
    st.one_of(st.text(max_size=10), st.integers().map(str)),
    st.one_of(
        st.text(max_size=50), st.binary(min_size=32, max_size=32).map(lambda b: base64.b64encode(b).decode())
    ),
    st.one_of(
        st.text(max_size=60),
        st.binary(min_size=32, max_size=32).map(lambda b: f"chain {base64.b64encode(b).decode()}"),
    ),
    st.just(""),
)


@given(st.one_of(st.binary(max_size=200), _checkpoint_like))
def test_any_bytes_are_exactly_one_checkpoint_or_none(body: bytes) -> None:
    try:
        assert chain.parse_checkpoint(body).body() == body
    except chain.NoteError as error:
        assert "not a checkpoint" in str(error)  # noqa: PT017 - either outcome is right


@given(st.one_of(st.text(max_size=100), st.tuples(st.text(max_size=9), st.binary(max_size=40)).map(str)))
def test_any_text_is_no_verifier_key(text: str) -> None:
    with pytest.raises(chain.NoteError):
        chain.VerifierKey.parse(text)
