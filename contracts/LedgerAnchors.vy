# pragma version 0.4.3
# pragma evm-version london
"""
@title Anchors of ledgers, and a registry of consents
@license Apache-2.0
@notice What a ledger was, where the ledger's own site cannot change it any more. A ledger is the SHA-256 of
    its name; one account may write about it. Nothing here is a name, a pseudonym or a document: subjects and
    digests of consents are hashes under a secret of the site.
@dev For chains of many makers: no opcode that came after London is used.
"""

struct Consent:
    subject: bytes32
    version: uint64
    digest: bytes32
    is_revoked: bool


event Admitted:
    ledger: indexed(bytes32)
    site: indexed(address)


event Anchored:
    ledger: indexed(bytes32)
    size: uint64
    root: bytes32


event ConsentRegistered:
    ledger: indexed(bytes32)
    subject: indexed(bytes32)
    version: uint64
    digest: bytes32
    is_revoked: bool


MOST_CONSENTS: constant(uint256) = 64
MOST_ROOTS: constant(uint256) = 256

keeper: public(immutable(address))
site_of: public(HashMap[bytes32, address])
size_of: public(HashMap[bytes32, uint64])
root_at: public(HashMap[bytes32, HashMap[uint64, bytes32]])
version_of: public(HashMap[bytes32, HashMap[bytes32, uint64]])
digest_of: public(HashMap[bytes32, HashMap[bytes32, HashMap[uint64, bytes32]]])
is_revocation: public(HashMap[bytes32, HashMap[bytes32, HashMap[uint64, bool]]])


@deploy
def __init__():
    keeper = msg.sender


@external
def admit(ledger: bytes32, site: address):
    """
    @notice Let an account write about a ledger. Once: afterwards only that account can name another.
    """
    assert msg.sender == keeper, "only who deployed it admits sites"
    assert self.site_of[ledger] == empty(address), "the ledger has a site"
    assert site != empty(address), "no account"
    self.site_of[ledger] = site
    log Admitted(ledger=ledger, site=site)


@external
def hand_over(ledger: bytes32, site: address):
    """
    @notice From now on another account writes about the ledger.
    """
    self._own(ledger)
    assert site != empty(address), "no account"
    self.site_of[ledger] = site
    log Admitted(ledger=ledger, site=site)


@external
def anchor(ledger: bytes32, size: uint64, root: bytes32):
    """
    @notice Say what the ledger is. It only grows; to say again what was said does nothing.
    """
    self._own(ledger)
    assert root != empty(bytes32), "no root"
    known: bytes32 = self.root_at[ledger][size]
    if known == root:
        return
    assert known == empty(bytes32), "another root was anchored for this size"
    assert size > self.size_of[ledger], "a larger size was anchored before"
    self.root_at[ledger][size] = root
    self.size_of[ledger] = size
    log Anchored(ledger=ledger, size=size, root=root)


@external
def register(ledger: bytes32, consents: DynArray[Consent, MOST_CONSENTS]):
    """
    @notice Say which versions of consents there are, each once, in their order.
    """
    self._own(ledger)
    for one: Consent in consents:
        assert one.digest != empty(bytes32), "no digest"
        known: bytes32 = self.digest_of[ledger][one.subject][one.version]
        if known == one.digest:
            assert self.is_revocation[ledger][one.subject][one.version] == one.is_revoked, "another status"
            continue
        assert known == empty(bytes32), "another digest was registered for this version"
        assert one.version > self.version_of[ledger][one.subject], "a later version was registered before"
        self.digest_of[ledger][one.subject][one.version] = one.digest
        self.version_of[ledger][one.subject] = one.version
        if one.is_revoked:
            self.is_revocation[ledger][one.subject][one.version] = True
        log ConsentRegistered(
            ledger=ledger,
            subject=one.subject,
            version=one.version,
            digest=one.digest,
            is_revoked=one.is_revoked,
        )


@external
@view
def latest(ledger: bytes32) -> (address, uint64, bytes32):
    """
    @notice Who writes about the ledger, and its newest anchor; zeros where there is none.
    """
    size: uint64 = self.size_of[ledger]
    return self.site_of[ledger], size, self.root_at[ledger][size]


@external
@view
def roots_at(ledger: bytes32, sizes: DynArray[uint64, MOST_ROOTS]) -> DynArray[bytes32, MOST_ROOTS]:
    """
    @notice The roots that were anchored for these sizes; zero for one that was not.
    """
    roots: DynArray[bytes32, MOST_ROOTS] = []
    for size: uint64 in sizes:
        roots.append(self.root_at[ledger][size])
    return roots


@external
@view
def consent(ledger: bytes32, subject: bytes32) -> (uint64, bytes32, bool):
    """
    @notice The latest version of a consent, its digest, and whether it revokes; zeros where there is none.
    """
    version: uint64 = self.version_of[ledger][subject]
    return version, self.digest_of[ledger][subject][version], self.is_revocation[ledger][subject][version]


@internal
@view
def _own(ledger: bytes32):
    site: address = self.site_of[ledger]
    assert site != empty(address), "no site was admitted for this ledger"
    assert msg.sender == site, "another account writes about this ledger"
