"""Models and their versions as Replicate's clients read them, on those paths that TensorFlow Serving leaves.

Its are, and stay so: `/v1/models/{name}`, `/v1/models/{name}/metadata`, `/v1/models/{name}/versions/{n}`,
`/v1/models/{name}/labels/{alias}`, both with `/metadata`, and all that end with a verb after a colon. Left are
`/v1/models`, at which it has nothing, `/v1/models/{owner}/{name}`, and what is below that with `versions` or
`predictions`. So a model that is called `metadata` cannot be read here, nor the versions of one called `labels`.

Names are unique here, so the owner in a path is not looked at. A version's id is the SHA-256 of its file, as its
document has it: 64 hexadecimal digits, as Replicate's. Where one file was registered several times it is the newest of
these that is available; NAME:NUMBER means one alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId

from api.auth.caller import current_caller
from api.dialects.predicting import available, the_service, version_or_alias
from api.dialects.replicate.addresses import url_of
from api.dialects.replicate.blueprint import NAME, blueprint
from api.dialects.replicate.model_schema import COG_VERSION, openapi_schema
from api.dialects.replicate.models_described import MODELS_PAGE, ONE_MODEL, ONE_VERSION, VERSIONS_PAGE
from api.dialects.replicate.paging import CURSOR, PAGE, asked_cursor, beyond, not_a_cursor, page
from api.dialects.replicate.query import only
from api.dialects.replicate.versions import DIGEST, with_digest
from api.openapi.describe import JSON, Answer, Operation, describes
from api.render import time as shown_time
from api.resources.base import ALL, Roles
from api.responses import AlmanacResponse, json_answer
from ml.audit.entries import owner_in
from ml.database.client import READ_MS, Document
from ml.errors import UnknownModel, listed
from ml.identity.caller import ADMIN
from ml.service import Signature, Version

MODELS = "/v1/models"
#: When a version was made whose document does not say it.
EPOCH = datetime(1970, 1, 1)
#: What of `/v1/models` is Replicate's, see above.
PATHS = (
    rf"{MODELS}(?:/[^/:]+/(?:(?!metadata\Z)[^/:]+|(?!labels/)[^/]+/(?:versions|predictions)"
    r"|(?!labels/versions/metadata\Z)[^/:]+/versions/[^/]+))?\Z"
)

PERMISSIONS: Mapping[tuple[str, str], Roles] = {
    (f"{NAME}.{view}", "GET"): ALL for view in ("list_models", "get_model", "list_versions", "get_version")
}

_NUMBER = re.compile(r"[0-9]{1,18}")

_PATH = {
    "owner": "Not looked at: names are unique here.",
    "version_id": "A version's `id`, or its number, or an alias; NAME:NUMBER and NAME:ALIAS too.",
}


@blueprint.get(MODELS)
@describes(
    Operation(
        id="replicateListModels",
        tag=NAME,
        summary="List the models",
        answers={
            200: Answer(
                f"Up to {PAGE} models of those that have a version which is not retired, by their names.",
                {JSON: MODELS_PAGE},
            )
        },
        query=(CURSOR,),
    )
)
def list_models() -> AlmanacResponse:
    """All models that the caller's key is for."""
    cursor = asked_cursor()
    may = current_caller().may_use
    names = sorted(name for name, versions in _known().items() if may(name) and _is_there(versions))
    return json_answer(page(cursor, beyond(names, cursor, str), str, _models))


@blueprint.get(f"{MODELS}/<owner>/<name>")
@describes(
    Operation(
        id="replicateGetModel",
        tag=NAME,
        summary="Read a model",
        answers={200: ONE_MODEL},
        path=_PATH,
    )
)
def get_model(name: str, **_: str) -> AlmanacResponse:
    """A model, with its owner."""
    only()
    _versions(name)
    return json_answer(_models([name])[0])


@blueprint.get(f"{MODELS}/<owner>/<name>/versions")
@describes(
    Operation(
        id="replicateListVersions",
        tag=NAME,
        summary="List a model's versions",
        answers={
            200: Answer(
                f"Up to {PAGE} of those that are available, the newest first.",
                {JSON: VERSIONS_PAGE},
            )
        },
        path=_PATH,
        query=(CURSOR,),
    )
)
def list_versions(name: str, **_: str) -> AlmanacResponse:
    """The versions of a model that can be asked."""
    cursor = asked_cursor()
    if cursor is not None and not _NUMBER.fullmatch(cursor.place):
        raise not_a_cursor(str(cursor))
    # By numbers that go up in the order of the list.
    found = {-version.number: version for version in _versions(name).values() if version.state == "available"}
    here = beyond(sorted(found), cursor, lambda place: -int(place))
    return json_answer(page(cursor, [found[number] for number in here], lambda version: str(version.number), _shown))


@blueprint.get(f"{MODELS}/<owner>/<name>/versions/<version_id>")
@describes(
    Operation(
        id="replicateGetVersion",
        tag=NAME,
        summary="Read a version of a model",
        answers={200: ONE_VERSION},
        errors={409: "The version is not available; `detail` has its state."},
        path=_PATH,
    )
)
def get_version(name: str, version_id: str, **_: str) -> AlmanacResponse:
    """One version of a model, by what a prediction's `version` may name it."""
    only()
    return json_answer(_shown([version_of(name, version_id)])[0])


def version_of(name: str, id_: str) -> Version:
    """Which version of a model an id means. Raises UnknownModel, and ModelNotAvailable where it cannot be asked."""
    versions = _versions(name)
    if not DIGEST.fullmatch(id_):
        return available(name, *version_or_alias(id_.removeprefix(f"{name}:")))
    meant = with_digest(versions.values(), id_)
    if not meant:
        there = listed(id_of(versions[number]) for number in sorted(versions))
        raise UnknownModel(f"{name} has no version {id_}; there are: {there}")
    return available(name, meant[0].number)


def id_of(version: Version) -> str:
    """A version's id; of one whose document, which another program may have written, has no digest, NAME:NUMBER."""
    digest = version.document.get("digest")
    return digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else str(version)


def _known() -> Mapping[str, Mapping[int, Version]]:
    return the_service().registry.known().versions


def _is_there(versions: Mapping[int, Version]) -> bool:
    return any(version.state != "retired" for version in versions.values())


def _versions(name: str) -> Mapping[int, Version]:
    """The versions of a model. Raises UnknownModel."""
    versions = _known().get(name, {})
    if not _is_there(versions):
        raise UnknownModel(f"there is no model {name[:100]!r}")
    return versions


def _owners(names: Sequence[str]) -> dict[str, str]:
    """Whose each name is; the administrator's where nobody is said to own it."""
    found = the_service().db["registry"].find({"_id": {"$in": list(names)}}, {"owner": True}, max_time_ms=READ_MS)
    owners = {entry["_id"]: owner_in(entry) for entry in found}
    return {name: owners.get(name) or ADMIN.owner for name in names}


def _models(names: Sequence[str]) -> list[dict[str, Any]]:
    """Models that are known, as Replicate's clients want them."""
    owners = _owners(names)
    meant = {name: the_service().registry.find(name) for name in names}
    documents = _documents(meant.values())
    return [
        {
            "url": url_of(f"/console/models/{name}"),
            "owner": owners[name],
            "name": name,
            "description": text if isinstance(text := documents[version.id].get("description"), str) else None,
            "visibility": "public",
            **dict.fromkeys(("github_url", "paper_url", "license_url"), None),
            "run_count": 0,
            **dict.fromkeys(("cover_image_url", "default_example"), None),
            "latest_version": _version(version, documents[version.id]) if version.state == "available" else None,
        }
        for name, version in meant.items()
    ]


def _shown(versions: Sequence[Version]) -> list[dict[str, Any]]:
    documents = _documents(versions)
    return [_version(version, documents[version.id]) for version in versions]


def _version(version: Version, document: Mapping[str, Any]) -> dict[str, Any]:
    made = document.get("_created")
    return {
        "id": id_of(version),
        "created_at": shown_time(made if isinstance(made, datetime) else EPOCH),
        "cog_version": COG_VERSION,
        "openapi_schema": openapi_schema(Signature.from_document(version.document)),
    }


def _documents(versions: Iterable[Version]) -> dict[ObjectId, Document]:
    """Of the documents of versions what is not known of them in memory, by their ids; empty where one is gone."""
    ids = [version.id for version in versions]
    wanted = {"description": True, "_created": True}
    found = the_service().db["models"].find({"_id": {"$in": ids}}, wanted, max_time_ms=READ_MS)
    return {id_: {} for id_ in ids} | {document["_id"]: document for document in found}
