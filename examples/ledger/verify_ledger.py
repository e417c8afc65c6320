#!/usr/bin/env python3
"""Verify an export of an Einthoven ledger without Einthoven: Python 3.11 and `pip install cryptography`.

    python verify_ledger.py EXPORT [--key NAME+ID+KEY] [--kept CHECKPOINT]

Exit code 0: every byte is as it was signed. 1: it is not, and the line says where. --key is the ledger's
verifying key, learnt otherwise than from the export; without it, a file that was made up whole passes.
--kept is a checkpoint of this ledger that you saved; without it, an older export passes for the newest.
The format is in docs/reference/ledger.md; it rests on RFC 9162 (the tree) and C2SP's signed-note,
tlog-checkpoint and tlog-cosignature.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Tampered(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Tampered(what)


def sha(content):
    return hashlib.sha256(content).digest()


class Tree:
    """RFC 9162's tree; peaks are the roots of the complete subtrees, (level, hash), the largest first."""

    def __init__(self):
        self.size, self.peaks = 0, []

    def append(self, entry):
        self.size += 1
        self.peaks.append((0, sha(b"\0" + entry)))
        while len(self.peaks) > 1 and self.peaks[-1][0] == self.peaks[-2][0]:
            (_, right), (level, left) = self.peaks.pop(), self.peaks.pop()
            self.peaks.append((level + 1, sha(b"\1" + left + right)))

    def root(self):
        if not self.peaks:
            return sha(b"")
        root = self.peaks[-1][1]
        for _, left in reversed(self.peaks[:-1]):
            root = sha(b"\1" + left + root)
        return root


def decoded(text):
    content = base64.b64decode(text, validate=True)
    require(base64.b64encode(content).decode() == text, "base64 that is not the only one")
    return content


def read_key(text):
    """NAME+ID+BASE64 as (name, id, kind, public); kind 1 is a ledger's own key, kind 4 a witness's."""
    name, key_id, rest = text.split("+", 2)
    content = decoded(rest)
    require(content[0] in (1, 4) and len(content) == 33, "not an Ed25519 key")
    require(sha(name.encode() + b"\n" + content)[:4].hex() == key_id, "a key whose id is another's")
    return name, bytes.fromhex(key_id), content[0], content[1:]


def verifies(key, text, name, signature):
    """Whether one line under a note is this key's signature of its text."""
    if (name, signature[:4]) != key[:2]:
        return False
    message, content = text.encode(), signature[4:]
    if key[2] == 4:
        seconds = int.from_bytes(content[:8], "big")
        message, content = f"cosignature/v1\ntime {seconds}\n".encode() + message, content[8:]
    try:
        Ed25519PublicKey.from_public_bytes(key[3]).verify(content, message)
    except InvalidSignature:
        return False
    return True


def read_note(text):
    """A checkpoint and its signatures: (body, origin, size, root, [(name, signature)])."""
    body, _, lines = text.rpartition("\n\n")
    found = re.fullmatch(r"([!-~]+)\n(0|[1-9]\d*)\n(\S+)\nmade (0|[1-9]\d*)", body)
    require(found and lines.endswith("\n"), "not a checkpoint")
    signatures = []
    for line in lines[:-1].split("\n"):
        one = re.fullmatch(r"— (\S+) (\S+)", line)
        require(one, "not a signature")
        signatures.append((one[1], decoded(one[2])))
    require(sorted(set(lines.splitlines())) == lines.splitlines(), "signatures out of order")
    return body + "\n", found[1], int(found[2]), decoded(found[3]), signatures


def verify(content, pins=(), kept=None):
    """The origin, entries, checkpoints and root of an export; raises Tampered."""
    lines = iter(content.decode("utf-8").split("\n"))
    require(next(lines) == "einthoven ledger export 1", "not an export")
    origin = next(lines)
    heading = [re.fullmatch(r"(0|[1-9]\d*) " + what, next(lines)) for what in ("entries", "checkpoints")]
    require(all(heading), "no numbers in the heading")
    tree, keys, ever, changes, roots = Tree(), [], [], [], {}
    done, signed, pinned = 0, 0, not pins
    for line in lines:
        if line.startswith("{"):
            if line.startswith('{"kind":"key-changed",'):
                changes.append((tree.size, json.loads(line)))
            tree.append(line.encode("utf-8"))
            if kept and tree.size == kept[2]:
                roots[tree.size] = tree.root()
        elif line == "":
            part = "".join(f"{one}\n" for _ in range(2) for one in [*iter(lines.__next__, ""), ""])
            body, name, size, root, signatures = read_note(part[:-1])
            place = f"checkpoint {done + 1}, of {size} entries"
            require(name == origin and size > signed, f"{place}: of another ledger, or out of turn")
            require((size, root) == (tree.size, tree.root()), f"{place}: the entries before it were changed")
            if not keys:  # the first entry introduces the first key, which signs for itself
                require(changes and changes[0][0] == 0, f"{place}: no key was introduced")
                first = read_key(changes[0][1]["key"])
                require(first[0] == origin and first[2] == 1, f"{place}: the key of another ledger")
                keys.append(first)
            own = [key for key in keys if key[2] == 1]
            require(any(verifies(k, body, *s) for k in own for s in signatures), f"{place}: not signed")
            pinned = pinned or any(k in pins and verifies(k, body, *s) for k in own for s in signatures)
            retired = []
            for _, change in changes:  # they hold behind the checkpoint that the keys before them signed
                key = read_key(change["key"])
                if change["change"] == "retired":
                    require(key in keys, f"{place}: retires a key that is not in force")
                    retired.append(key)
                elif key not in keys:
                    require(key[2] == 4 or key[0] == origin, f"{place}: the key of another ledger")
                    keys.append(key)
            may = [key for key in keys if key[2] == 4 or key in own]
            for signature in signatures:
                require(any(verifies(key, body, *signature) for key in may), f"{place}: a forged signature")
            ever += [key for key in keys if key not in ever]
            keys = [key for key in keys if key not in retired]
            changes, done, signed = [], done + 1, size
        else:
            require(line == "end" and list(lines) == [""], "something that is no entry and no checkpoint")
            break
    else:
        raise Tampered("the export is cut off")
    require([int(one[1]) for one in heading] == [tree.size, done], "not as many as the heading says")
    require(done and signed == tree.size, "entries that no checkpoint covers")
    require(pinned, "no checkpoint is signed by the key that was given")
    if kept:
        require(any(verifies(k, kept[0], *s) for k in ever for s in kept[4]), "kept is not its own")
        require(roots.get(kept[2]) == kept[3], "it does not begin with the tree of the kept checkpoint")
    return origin, tree.size, done, tree.root()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("export")
    parser.add_argument("--key", action="append", default=[])
    parser.add_argument("--kept")
    given = parser.parse_args()
    try:
        kept = read_note(pathlib.Path(given.kept).read_text("utf-8")) if given.kept else None
        content = pathlib.Path(given.export).read_bytes()
        origin, entries, checkpoints, root = verify(content, [read_key(key) for key in given.key], kept)
    except (Tampered, ValueError, KeyError, StopIteration, RuntimeError) as error:
        print(f"TAMPERED: {error}")
        return 1
    print(f"verified: {origin}, {entries} entries, {checkpoints} checkpoints, root {root.hex()}")
    print("with the key that was given" if given.key else "but whose key it is was not checked: give --key")
    return 0


if __name__ == "__main__":
    sys.exit(main())
