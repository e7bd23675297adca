"""Files and models as Replicate's client, from the package index and unmodified, asks for them over HTTP."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId
from flask import g
from gridfs import GridFSBucket
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect
from replicate.client import Client as Replicate
from replicate.exceptions import ReplicateError
from replicate.helpers import encode_json
from replicate.pagination import paginate

from api import create_app
from api.dialects.replicate import paging
from api.dialects.replicate.files import read
from api.errors import ApiError
from ml.database.client import database_of
from ml.database.documents import now
from ml.identity.caller import Caller
from ml.identity.keys import create_key
from ml.uploads import CHUNK_BYTES, CHUNKS, FILES, KEPT
from settings import Settings
from tests.conftest import ADMIN_KEY, Api
from tests.integration.dialects.replicate import problem
from tests.integration.rest import Client, stored, tensor

#: More than are written at once.
LARGE = bytes(range(256)) * (17 * CHUNK_BYTES // 256 + 1)


@pytest.fixture
def connect(address: str) -> Callable[..., Any]:
    """Makes clients with a key."""

    def make(token: str = ADMIN_KEY) -> Any:
        return Replicate(api_token=token, base_url=f"http://{address}")

    return make


@pytest.fixture
def eve(connect: Callable[..., Any]) -> Any:
    return connect("user:eve")


def download(file: Any, token: str = "user:eve") -> httpx.Response:
    return httpx.get(file.urls["download"], headers={"Authorization": f"Bearer {token}"})


def refused(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[int, str]:
    """The status and the text with which the client is answered."""
    with pytest.raises(ReplicateError) as raised:
        call(*args, **kwargs)
    assert raised.value.title
    return raised.value.status or 0, raised.value.detail or ""


def upload(api: Api, content: bytes = b"some", name: str = "some.txt", **fields: Any) -> Any:
    return api.post("/v1/files", data={"content": (io.BytesIO(content), name), **fields})


def test_a_file_is_uploaded_read_listed_and_deleted(eve: Any, client: Client, address: str, tmp_path: Path) -> None:
    path = tmp_path / "Größe 7.png"
    path.write_bytes(LARGE)
    made = eve.files.create(path, metadata={"scanner": 2, "$odd.key": [None, 0.5]})
    digest = hashlib.sha256(LARGE).hexdigest()
    assert (made.name, made.content_type, made.size) == ("Größe 7.png", "image/png", len(LARGE))
    assert (made.etag, made.checksums) == (digest, {"sha256": digest})
    assert made.metadata == {"scanner": 2, "$odd.key": [None, 0.5]}
    assert made.urls["get"] == f"http://{address}/v1/files/{made.id}"
    assert (made.created_at[-1], made.expires_at[11:]) == ("Z", made.created_at[11:])
    assert eve.files.get(made.id) == made
    other = eve.files.create(io.BytesIO(b""))
    assert (other.name, other.size, other.metadata) == ("file", 0, {})
    assert eve.files.list() == [other, made]

    assert httpx.get(made.urls["get"]).status_code == 401
    answer = download(made)
    assert answer.content == LARGE
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == str(len(LARGE))
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe%207.png"
    assert download(other).content == b""
    # Other programs find a GridFS bucket.
    stream = GridFSBucket(database_of(client), "uploads").open_download_stream(ObjectId(made.id))
    assert stream.read() == LARGE

    assert eve.files.delete(made.id)
    assert refused(eve.files.get, made.id) == (404, f"there is nothing at /v1/files/{made.id}")
    assert refused(eve.files.delete, made.id)[0] == 404
    assert download(made).status_code == 404
    assert stored(client, CHUNKS) == []
    assert eve.files.list() == [other]
    told = [(entry["action"], entry["resource"], entry["owner"]) for entry in stored(client, "audit")]
    assert told == [("create", "files", "eve")] * 2 + [("delete", "files", "eve")]


def test_nobody_sees_anothers(connect: Callable[..., Any], client: Client) -> None:
    eve, adam, reader, admin = map(connect, ("user:eve", "user:adam", "reader:eve", ADMIN_KEY))
    made = eve.files.create(io.BytesIO(b"secret of eve"))
    assert adam.files.list() == []
    for call in (adam.files.get, adam.files.delete):
        assert refused(call, made.id)[0] == 404
    assert download(made, "user:adam").status_code == 404
    assert reader.files.get(made.id) == admin.files.get(made.id) == made
    assert download(made, "reader:eve").content == b"secret of eve"
    assert refused(reader.files.delete, made.id)[0] == refused(reader.files.create, io.BytesIO(b""))[0] == 403
    assert refused(connect("nobody").files.list)[0] == 401
    assert [file["owner"] for file in stored(client, FILES)] == ["eve"]
    assert admin.files.delete(made.id)


@pytest.fixture
def reading(api: Api, address: str) -> Callable[..., Any]:
    """`read` as a prediction of a caller's calls it."""

    def call(url: str, owner: str = "eve", host: str = address) -> Any:
        with api.http.application.test_request_context("/v1/predictions", base_url=f"http://{host}"):
            g.caller = Caller(owner, "user")
            return read(url)

    return call


def test_the_url_of_a_file_stands_for_its_content(
    eve: Any, address: str, client: Client, reading: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "seven.png").write_bytes(b"pixels")
    given = encode_json({"image": tmp_path / "seven.png"}, eve)
    url = given["image"]
    assert reading(url) == reading(f"{url}/download") == (b"pixels", "image/png")
    assert reading(url.upper().replace("HTTP", "http").replace("/V1/FILES", "/v1/files").lower()) is not None
    assert reading(url.replace("http:", "https:")) is not None  # a proxy may have ended it
    assert reading(url.replace(address, "Almanac.example:80"), host="almanac.example") is not None
    for other in (
        url.replace(address, "elsewhere.example"),
        url.replace("//", "//user@"),
        url.replace("/v1/", "/v2/"),
        f"{url}/other",
        f"http://{address}/v1/models",
        f"http://{address}",
        "http://[",
        "ftp" + url[4:],
        "/v1/files/" + url[-24:],
        "data:image/png;base64,AA==",
        "some text",
        "",
    ):
        assert reading(other) is None, other
    wrong = [f"{url[:-24]}{'0' * 24}", url[:-1], f"{url[:-24]}%00"]
    for name in wrong:
        with pytest.raises(ApiError, match=r"there is no file .*: it was deleted, or has expired, or") as told:
            reading(name)
        assert told.value.code == 422
    with pytest.raises(ApiError, match="there is no file"):
        reading(url, owner="adam")
    database_of(client)[CHUNKS].delete_many({})
    with pytest.raises(ApiError, match="there is no file"):
        reading(url)
    assert httpx.get(f"{url}/download", headers={"Authorization": "Bearer user:eve"}).status_code == 404


def test_it_is_gone_after_a_day(eve: Any, client: Client, reading: Callable[..., Any]) -> None:
    made = eve.files.create(io.BytesIO(b"x"))
    (file,), (chunk,) = stored(client, FILES), stored(client, CHUNKS)
    assert file["expires"] - file["_created"] == KEPT == timedelta(hours=24)
    assert chunk["expires"] > file["expires"]  # for who reads it then
    database_of(client)[FILES].update_one({}, {"$set": {"expires": now()}})
    assert eve.files.list() == []
    assert refused(eve.files.get, made.id)[0] == refused(eve.files.delete, made.id)[0] == 404
    assert download(made).status_code == 404
    with pytest.raises(ApiError, match="has expired"):
        reading(made.urls["get"])


def test_it_is_stored_whole_or_not_at_all(api: Api, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Collection.insert_many, []

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(self.name)
        if len(calls) > 1:
            raise AutoReconnect("gone")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Collection, "insert_many", failing)
    answer = upload(api, LARGE)
    assert (answer.status_code, calls) == (503, [CHUNKS, CHUNKS])
    assert "the database is not available" in problem(answer)
    assert stored(client, FILES) == stored(client, CHUNKS) == stored(client, "audit") == []
    # A process that ends there leaves chunks, which nobody finds and which go in time.
    service = api.http.application.extensions["service"]
    calls.clear()
    monkeypatch.setattr(service.uploads, "_remove_chunks", lambda file: None)
    assert upload(api, LARGE).status_code == 503
    assert [chunk["n"] for chunk in stored(client, CHUNKS)] == list(range(16))
    assert api.get("/v1/files").json["results"] == []


def test_what_loses_chunks_while_it_is_read_ends_early(api: Api, client: Client) -> None:
    upload(api, LARGE)
    uploads = api.http.application.extensions["service"].uploads
    (file,) = uploads.newest({}, 2)
    assert uploads.content(file) == LARGE
    parts = uploads.parts(file)
    next(parts)
    uploads.delete(file["_id"], {})
    with pytest.raises(EOFError, match="bytes are missing"):
        list(parts)
    assert uploads.content(file) is None


HOSTILE_NAMES = ("../up", "a/b", "a\\b", "a\tb", "a\x7fb", "a\x85b", ".", "..", "x" * 256)
HOSTILE_TYPES = ("png", "image/", "image/png; x", "text/html\tx", "a b/c", "image/png, a/b", "ä/b", "a/" + "b" * 254)


@pytest.mark.parametrize(
    ("fields", "issue"),
    [
        ({}, "content: expected one file, got 0"),
        ({"content": "text"}, "content: expected one file, got 0"),
        ({"content": [(io.BytesIO(b"1"), "a"), (io.BytesIO(b"2"), "b")]}, "content: expected one file, got 2"),
        ({"content": (io.BytesIO(b"1"), "a"), "purpose": "x"}, "purpose: no such field; there are content, filename"),
        ({"content": (io.BytesIO(b"1"), "a"), "file": (io.BytesIO(b"2"), "b")}, "file: no such field"),
        *(({"filename": name}, "filename: expected 1 to 255 characters") for name in HOSTILE_NAMES),
        *(({"type": kind}, "type: expected a media type of at most 255 characters") for kind in HOSTILE_TYPES),
        ({"filename": ["a", "b"]}, "filename: expected one value, got 2"),
        ({"metadata": "{"}, "metadata: not JSON"),
        ({"metadata": '{"a": NaN}'}, "metadata: not JSON"),
        ({"metadata": "[1]"}, "metadata: expected an object, got [1]"),
        ({"metadata": '{"a": ' + "[" * 300 + "]" * 300 + "}"}, "metadata: not JSON"),
        ({"metadata": json.dumps({"a": "x" * 65536})}, "metadata: expected at most 65536 bytes"),
        ({"metadata": (io.BytesIO(b"\xff"), "blob")}, "metadata: expected a text, got bytes"),
        ({"metadata": ["{}", (io.BytesIO(b"{}"), "blob")]}, "metadata: expected one value, got 2"),
        ({"metadata": json.dumps({"key": "alm_" + "k" * 43})}, "there is a secret in it"),
        ({"content": (io.BytesIO(b"1"), f"alm_{'k' * 43}.txt")}, "there is a secret in it"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:40],
)
def test_uploads_that_do_not_fit(api: Api, client: Client, fields: dict[str, Any], issue: str) -> None:
    if fields and not fields.keys() & {"content"}:
        fields = {"content": (io.BytesIO(b"1"), "a.txt"), **fields}
    answer = api.post("/v1/files", data=fields, content_type="multipart/form-data")
    assert answer.status_code == 422, answer.text
    assert issue in problem(answer)
    assert stored(client, FILES) == stored(client, CHUNKS) == []


def test_bodies_of_other_types_and_sizes(client: Client, make_api: Callable[..., Api]) -> None:
    api = make_api(client, max_body_mb=1)
    answer = api.post("/v1/files", json={"content": "x"})
    assert answer.status_code == 415
    assert "expected Content-Type multipart/form-data, got application/json" in problem(answer)
    answer = upload(api, b"x" * 2**20)
    assert answer.status_code == 413
    assert "larger than is allowed" in problem(answer)
    for method, path, code in (
        ("get", "/v1/files?cursor=nope", 400),
        ("get", "/v1/files?cursor=after-nope", 400),
        ("get", "/v1/files?cursor=after-", 400),
        ("get", "/v1/files?limit=2", 400),
        ("get", f"/v1/files/{'0' * 24}?limit=2", 400),
        ("get", "/v1/models?limit=2", 400),
        ("get", "/v1/files/nope", 404),
        ("put", "/v1/files", 405),
    ):
        answer = getattr(api, method)(path)
        assert answer.status_code == code
        assert problem(answer)
    assert stored(client, FILES) == stored(client, CHUNKS) == []


@pytest.mark.parametrize("announced", [1000, None])
def test_an_upload_that_breaks_off(api: Api, client: Client, announced: int | None) -> None:
    """The connection ends before the body does, or the body before the form does."""
    part = b'--b\r\nContent-Disposition: form-data; name="content"; filename="f"\r\n\r\nhalf of it'
    answer = api.post(
        "/v1/files",
        input_stream=io.BytesIO(part),
        content_length=announced or len(part),
        content_type="multipart/form-data; boundary=b",
    )
    assert answer.status_code == 422
    assert problem(answer) == "the file was not stored: content: expected one file, got 0"
    assert stored(client, FILES) == stored(client, CHUNKS) == []


def test_a_form_may_say_what_it_is(api: Api) -> None:
    """As the other clients of Replicate send it, too: metadata as a part with a name and a type of its own."""
    metadata = (io.BytesIO(b'{"a": 1}'), "blob", "application/json")
    made = upload(api, b"<script>", filename='page; a="b".html', type='text/html; charset="utf-8"', metadata=metadata)
    assert made.status_code == 201
    assert (made.json["name"], made.json["metadata"]) == ('page; a="b".html', {"a": 1})
    answer = api.get(made.json["urls"]["download"])
    assert answer.headers["Content-Type"] == 'text/html; charset="utf-8"'
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''page%3B%20a%3D%22b%22.html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (answer.data, api.head(made.json["urls"]["download"]).data) == (b"<script>", b"")


def test_pages_of_files_there_and_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)
    monkeypatch.setattr("api.dialects.replicate.files.PAGE", 2)
    names = [upload(api, name=f"f{number}").json["name"] for number in range(5)][::-1]
    assert upload(api.as_caller("user:eve"), name="eve's").status_code == 201
    api = api.as_caller("admin:adam")
    mine = upload(api, name="newest").json
    api.delete(mine["urls"]["get"])

    def turn(url: str) -> Any:
        page = api.get(url).json
        return [file["name"] for file in page["results"]], page["previous"], page["next"]

    names = ["eve's", *names]
    first, none, onward = turn("/v1/files")
    assert (first, none) == (names[:2], None)
    second, back, onward = turn(onward)
    assert second == names[2:4]
    assert turn(back) == (first, None, turn("/v1/files")[2])
    third, back, end = turn(onward)
    assert (third, end) == (names[4:], None)
    assert turn(back)[0] == second
    assert turn(turn(back)[1])[0] == first


def test_models_and_their_versions(
    api: Api, connect: Callable[..., Any], client: Client, serve: Callable[..., Any]
) -> None:
    serve(
        owner="eve",
        inputs=[tensor("image", "UINT8", -1, 8), tensor("words", "BYTES")],
        outputs=[tensor("y", "FP32", 2), tensor("n", "INT64")],
    )
    serve(version=2, owner="eve", aliases={"stable": 2})
    serve(version=3, owner="eve", aliases={"stable": 2})
    serve(version=4, state="loading", owner="eve", aliases={"stable": 2})
    serve(name="young", state="loading")
    serve(name="old", state="retired")
    models = database_of(client)["models"]
    for number in (1, 2, 3):
        digest = hashlib.sha256(b"%d" % (number % 3)).hexdigest()
        models.update_one({"version": number}, {"$set": {"digest": digest, "description": f"the {number}."}})
    digest = hashlib.sha256(b"2").hexdigest()
    adam = connect("reader:adam")

    model = adam.models.get("eve/sums")
    assert (model.id, model.description, model.latest_version.id) == ("eve/sums", "the 2.", digest)
    versions = list(model.versions.list())
    assert [version.id for version in versions] == [hashlib.sha256(b"%d" % n).hexdigest() for n in (0, 2, 1)]
    (document,) = models.find({"name": "sums", "version": 1})
    for name in (versions[2].id, "sums:1", "1"):
        assert model.versions.get(name) == versions[2]
    for name in (digest, "2", "stable", "sums:stable"):
        assert model.versions.get(name) == versions[1]
    assert versions[2].created_at == document["_created"]
    schemas = versions[2].openapi_schema["components"]["schemas"]
    image, words = schemas["Input"]["properties"].values()
    assert (schemas["Input"]["required"], image["x-order"], words["x-order"]) == (["image", "words"], 0, 1)
    assert image["anyOf"][0]["items"]["items"] == {"type": "integer", "minimum": 0, "maximum": 255}
    assert image["anyOf"][1]["format"] == "uri"
    assert words == {"title": "words", "x-order": 1, "type": "string", "description": words["description"]}
    assert schemas["Output"]["anyOf"][0]["properties"].keys() == {"y", "n"}
    assert versions[1].openapi_schema["components"]["schemas"]["Output"]["type"] == "array"

    assert [found.id for found in adam.models.list()] == ["eve/sums", "admin/young"]
    young = adam.models.get("admin", "young")
    assert (young.latest_version, list(young.versions.list())) == (None, [])
    assert refused(model.versions.get, "sums:4") == (409, "sums:4 is loading")
    for id_ in ("9", "sums:9", "f" * 64, "young:1", "x", "9" * 30):
        assert refused(model.versions.get, id_)[0] == 404
    assert adam.models.get("anyone/sums") == model
    for name in ("nope", "old"):
        assert refused(adam.models.get, f"admin/{name}") == (404, f"there is no model '{name}'")
    # One that was registered twice is the newest that is available.
    models.update_one({"version": 1}, {"$set": {"digest": digest}})
    models.update_one({"version": 4}, {"$set": {"digest": digest}})
    api.http.application.extensions["service"].registry.refresh()
    assert model.versions.get(digest) == versions[1]


def test_pages_of_models_there_and_back(
    api: Api, connect: Callable[..., Any], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)
    names = ["A", "a", "a-b", "b", "c"]
    for name in names:
        serve(name=name)
    for version in (2, 3, 4):
        serve(name="c", version=version)
    pages = list(paginate(connect().models.list))
    assert [[model.name for model in page] for page in pages] == [names[:2], names[2:4], names[4:]]
    assert [bool(page.previous) for page in pages] == [False, True, True]
    assert [model["name"] for model in api.get(pages[2].previous).json["results"]] == names[2:4]
    first = api.get("/v1/models/admin/c/versions").json
    second = api.get(first["next"]).json
    assert (first["previous"], second["next"], len(second["results"])) == (None, None, 2)
    assert api.get(second["previous"]).json["results"] == first["results"]
    answer = api.get("/v1/models/admin/c/versions?cursor=after-x")
    assert (answer.status_code, problem(answer)) == (400, answer.json["detail"])


def test_keys_for_some_models(client: Client, serve: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("mine", "other"):
        serve(name=name)
    app = create_app(Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, _env_file=None), client)
    try:
        api = Api(app.test_client(), create_key(database_of(client), "reader", "eve", models=["mine"])[1])
        assert [model["name"] for model in api.get("/v1/models").json["results"]] == ["mine"]
        assert api.get("/v1/models/admin/mine/versions/1").status_code == 200
        for rest in ("", "/versions", "/versions/1"):
            answer = api.get(f"/v1/models/admin/other{rest}")
            assert (answer.status_code, problem(answer)) == (403, "this key is not for the model 'other'")
    finally:
        app.extensions["service"].close()


def test_tensorflow_servings_paths_are_its_own(address: str, serve: Callable[..., Any]) -> None:
    for name in ("sums", "labels", "versions", "metadata"):
        serve(name=name, aliases={"versions": 1})

    def get(path: str) -> Any:
        answer = httpx.get(f"http://{address}{path}", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
        return answer.json()

    for path in ("sums", "sums/versions/1", "sums/labels/versions"):
        assert list(get(f"/v1/models/{path}")) == ["model_version_status"]
    for path in ("sums/metadata", "sums/labels/versions/metadata"):
        assert list(get(f"/v1/models/{path}")) == ["model_spec", "metadata"]
    for path in ("metadata", "labels/versions", "labels/versions/metadata"):
        assert list(get(f"/v1/models/admin/{path}")) == ["error"]  # there is no model `admin`
    for name in ("labels", "versions"):
        assert get(f"/v1/models/admin/{name}")["name"] == name
        assert get(f"/v1/models/admin/{name}/versions/1")["id"] == "0" * 64
    for name in ("versions", "metadata"):
        assert len(get(f"/v1/models/admin/{name}/versions")["results"]) == 1
    assert get("/V1/Models")["previous"] is None
    assert get("/v1/models/admin/no:name/versions")["detail"] == "there is no model 'no:name'"
    assert get("/v1/models/Versions/nope")["detail"] == "there is no model 'nope'"
