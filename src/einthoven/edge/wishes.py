"""What becomes of what is wanted when somebody wants something else: plain functions from value to value."""

import msgspec

from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.site_events import Enrol
from einthoven.edge.site_state import Enrolled, Wanted
from einthoven.errors import Conflict

__all__ = ["deployed", "enrolled", "rolled_back", "scaled"]


def enrolled(known: Enrolled | None, event: Enrol) -> Enrolled:
    """The node that belongs to the site.

    Raises
    ------
    Conflict : another has its name.
    """
    if known is None:
        return Enrolled(name=event.node, public=event.public, tier=event.tier, labels=event.labels)
    if known.public != event.public:
        raise Conflict(
            f"there is a node {event.node!r} with another key.",
            where="nodes",
            remedy="Give it another name, or forget the old one first.",
        )
    return known


def deployed(known: Wanted | None, service: Nanoservice) -> Wanted:
    """What is wanted once a nanoservice is deployed.

    Raises
    ------
    Conflict : that version is another one; or what is exclusive would not be so any more, or the reverse.
    """
    if known is None:
        return Wanted(service=service, replicas=service.replicas)
    replicas = min(max(known.replicas, service.replicas), service.most)
    if known.service.version == service.version:
        if _without_counts(known.service) != _without_counts(service):
            raise Conflict(
                f"version {service.version} of {service.name} is another one.",
                where="version",
                remedy="Give what has changed a version of its own.",
            )
        return msgspec.structs.replace(known, service=service, replicas=replicas)
    if known.service.is_exclusive != service.is_exclusive:
        raise Conflict(
            f"{service.name} cannot become exclusive, or cease to be.",
            where="is_exclusive",
            remedy="Remove it first, or give it another name.",
        )
    return Wanted(
        service=service,
        replicas=replicas,
        before=known.before or known.service,
        condemned=tuple(one for one in known.condemned if one != service.version),
    )


def scaled(wanted: Wanted, replicas: int) -> Wanted:
    """What is wanted when it is to run so often; under load it may still run as often as it might before."""
    most = wanted.service.replicas_max
    service = msgspec.structs.replace(
        wanted.service, replicas=replicas, replicas_max=max(replicas, most) if most else 0
    )
    return msgspec.structs.replace(wanted, service=service, replicas=replicas)


def rolled_back(wanted: Wanted, before: Nanoservice) -> Wanted:
    """The version before is wanted again."""
    condemned = (*wanted.condemned, wanted.service.version)
    return Wanted(service=before, replicas=wanted.replicas, condemned=condemned)


def _without_counts(service: Nanoservice) -> Nanoservice:
    return msgspec.structs.replace(service, replicas=1, replicas_max=0, priority=0)
