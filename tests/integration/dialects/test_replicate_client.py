"""Replicate's API as `replicate`, from the package index and unmodified, speaks it over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from bson import ObjectId
from replicate.client import Client as Replicate
from replicate.exceptions import ModelError, ReplicateError
from replicate.pagination import paginate
from replicate.webhook import InvalidSignatureError, Webhooks

from ml.service import Service
from ml.webhooks.post import Poster
from ml.webhooks.sender import Sender
from tests.conftest import ADMIN_KEY, Api
from tests.integration.jobs import work, working
from tests.integration.rest import ROW, Client, image, npy, stored, tensor
from tests.receivers import receiving
from tests.waiting import until


@pytest.fixture
def api(client: Client, make_api: Callable[..., Api]) -> Api:
    return make_api(client, webhook_private_targets=True)


@pytest.fixture
def service(api: Api) -> Service:
    made: Service = api.http.application.extensions["service"]
    return made


@pytest.fixture
def worker(service: Service) -> Iterator[None]:
    """One that works for as long as the test."""
    with working(service):
        yield


@pytest.fixture
def connect(address: str) -> Callable[..., Any]:
    def make(token: str = "user:eve") -> Any:
        made = Replicate(api_token=token, base_url=f"http://{address}")
        made.poll_interval = 0.05
        return made

    return make


@pytest.mark.usefixtures("worker")
def test_create_wait_and_run(connect: Callable[..., Any], api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(classes=["one", "two"])
    eve = connect()
    prediction = eve.predictions.create(version="sums", input={"x": ROW})
    assert (prediction.status, prediction.output, prediction.started_at) == ("starting", None, None)
    prediction.wait()
    assert (prediction.status, prediction.output, prediction.error) == ("succeeded", [6, 7], None)
    assert prediction.input == {"x": ROW}
    assert (prediction.model, prediction.version) == ("admin/sums", "0" * 64)
    assert prediction.metrics.keys() == {"predict_time", "total_time"}
    assert prediction.created_at <= prediction.started_at <= prediction.completed_at
    assert eve.predictions.get(prediction.id) == prediction
    assert eve.run("whoever/sums", input={"x": np.array([4, 5, 6])}) == [15, 16]
    for create in (
        lambda: eve.predictions.create("admin/sums:1", {"x": ROW}, wait=True),
        lambda: eve.models.predictions.create(("admin", "sums"), {"x": ROW}, wait=30),
        lambda: eve.deployments.predictions.create("admin/sums", {"x": ROW}, wait=30),
    ):
        ended = create()
        assert (ended.status, ended.output) == ("succeeded", [6, 7])
    # What it made is seen natively.
    job = api.as_caller("user:eve").get(f"jobs/{prediction.id}").json
    assert (job["status"], job["protocol"], job["progress"]["done"]) == ("succeeded", "replicate", 1)
    results = api.as_caller("user:eve").get("results", query_string={"where": f'{{"job": "{prediction.id}"}}'})
    (result,) = results.json["_items"]
    assert (result["protocol"], result["label"], result["output"]) == ("replicate", "two", {"y": [6, 7]})
    assert {document["owner"] for name in ("inputs", "results", "jobs") for document in stored(client, name)} == {"eve"}


@pytest.mark.usefixtures("worker")
def test_what_fails_says_why(connect: Callable[..., Any], serve: Callable[..., Any]) -> None:
    serve(fail_on=13.0)
    eve = connect()
    with pytest.raises(ModelError, match="the stub was told to fail") as failed:
        eve.run("admin/sums", input={"x": [13, 0, 0]})
    assert failed.value.prediction.status == "failed"
    assert failed.value.prediction.output is None
    for asked, status, reason in (
        ({"version": "sums", "input": {"x": [1, 2]}}, 422, r"input\.x: x expected FP32\[3\]"),
        ({"version": "nope", "input": {"x": ROW}}, 404, "there is no model 'nope'"),
    ):
        with pytest.raises(ReplicateError, match=reason) as refused:
            eve.predictions.create(**asked)
        assert refused.value.status == status
        assert refused.value.title
    with pytest.raises(ReplicateError, match="the key is not valid") as refused:
        connect("nobody's").predictions.list()
    assert refused.value.status == 401


def test_cancel(connect: Callable[..., Any], service: Service, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    eve = connect()
    prediction = eve.predictions.create(version="sums", input={"x": ROW})
    prediction.cancel()
    assert prediction.status == "canceled"
    assert prediction.completed_at
    again = eve.predictions.cancel(prediction.id)
    assert again == prediction
    work(service)
    prediction.reload()
    assert prediction == again
    assert stored(client, "results") == []
    with pytest.raises(ReplicateError, match="there is no prediction"):
        connect("user:adam").predictions.cancel(prediction.id)


def test_the_list_through_its_pages(
    connect: Callable[..., Any], api: Api, client: Client, serve: Callable[..., Any]
) -> None:
    serve()
    eve = connect()
    first = eve.predictions.create(version="sums", input={"x": ROW})
    made = stored(client, "jobs")[0]
    # Several of one moment: a page ends among them. Others are another's, or no predictions.
    jobs = [
        {**made, "_id": ObjectId(), "_created": made["_created"] + timedelta(seconds=1 + number // 30)}
        for number in range(250)
    ]
    others = [{**made, "_id": ObjectId(), "owner": "adam"}, {**made, "_id": ObjectId(), "protocol": "another"}]
    client["almanac"]["jobs"].insert_many([*jobs, *others])
    api.as_caller("user:eve").post("jobs", json={"model": "sums"})
    pages = list(paginate(eve.predictions.list))
    assert [len(page) for page in pages] == [100, 100, 51]
    ids = [prediction.id for page in pages for prediction in page]
    newest = sorted(jobs, key=lambda job: (job["_created"], job["_id"]), reverse=True)
    assert ids == [*(str(job["_id"]) for job in newest), first.id]
    assert pages[0].previous is None
    back = eve.predictions.list(pages[2].previous)
    assert (back.results, back.next is not None) == (pages[1].results, True)
    start = eve.predictions.list(back.previous)
    assert (start.results, start.previous) == (pages[0].results, None)
    assert pages[2][50].input == {"x": ROW}
    assert len(connect("user:zoe").predictions.list()) == 0
    assert len(connect(ADMIN_KEY).predictions.list()) == 100


@pytest.mark.usefixtures("worker")
def test_asynchronous_calls(connect: Callable[..., Any], serve: Callable[..., Any]) -> None:
    serve()

    async def several() -> None:
        eve = connect()
        prediction = await eve.predictions.async_create(version="sums", input={"x": ROW})
        await prediction.async_wait()
        assert prediction.output == [6, 7]
        ran = [eve.async_run("admin/sums", input={"x": [1, 2, number]}) for number in range(4)]
        assert await asyncio.gather(*ran) == [[3 + number, 4 + number] for number in range(4)]
        assert len(await eve.predictions.async_list()) == 5
        await (await eve.predictions.async_create(version="sums", input={"x": ROW})).async_cancel()

    asyncio.run(several())


@pytest.mark.usefixtures("worker")
def test_streams(connect: Callable[..., Any], serve: Callable[..., Any]) -> None:
    serve(fail_on=13.0)
    serve(name="words", outputs=[tensor("y", "BYTES")])
    eve = connect()
    output, done = eve.stream("admin/sums", input={"x": ROW})
    assert (output.event.value, json.loads(output.data)) == ("output", [6, 7])
    assert (done.event.value, json.loads(done.data)) == ("done", {})
    assert "".join(map(str, eve.stream("admin/words", input={"x": ROW}))) == "6"
    with pytest.raises(RuntimeError, match="the stub was told to fail"):
        list(eve.stream("admin/sums", input={"x": [13, 0, 0]}))
    (canceled,) = _canceled(eve).stream()
    assert json.loads(canceled.data) == {"reason": "canceled"}


def _canceled(client: Any) -> Any:
    """A prediction that no worker can have taken."""
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while datetime.now(UTC) < deadline:
        prediction = client.predictions.create(version="sums", input={"x": ROW})
        prediction.cancel()
        if prediction.status == "canceled":
            return prediction
    raise AssertionError


@pytest.mark.usefixtures("worker")
def test_files_in_the_input(connect: Callable[..., Any], serve: Callable[..., Any], address: str) -> None:
    serve(name="pictures", inputs=[tensor("image", "UINT8", 4, 4), tensor("mask", "FP32", 2)])
    pixels = np.arange(16, dtype="u1").reshape(4, 4)
    output = [float(pixels.sum()) + 3, float(pixels.sum()) + 4]

    def files() -> dict[str, Any]:
        return {"image": io.BytesIO(image(pixels)), "mask": io.BytesIO(npy(np.array([1, 2], "f4")))}

    eve = connect()
    prediction = eve.predictions.create(version="pictures", input=files(), file_encoding_strategy="base64", wait=True)
    assert prediction.output == output
    assert prediction.input == {"image": pixels.tolist(), "mask": [1, 2]}
    assert eve.files.list() == []
    # As it does by itself: each is uploaded, and its URL sent.
    prediction = eve.predictions.create(version="pictures", input=files(), wait=True)
    assert prediction.output == output
    assert {url.rpartition("/")[0] for url in prediction.input.values()} == {f"http://{address}/v1/files"}
    assert len(eve.files.list()) == 2
    # By a digest, the client asks first what the version takes.
    assert eve.run(f"admin/pictures:{'0' * 64}", input=files()) == output


@pytest.mark.usefixtures("worker")
def test_webhooks_are_verified_by_the_client(
    connect: Callable[..., Any], service: Service, serve: Callable[..., Any]
) -> None:
    serve()
    eve = connect()
    secret = eve.webhooks.default.secret()
    sender = Sender(service.db, Poster(private=True, seconds=5.0), poll=0.02)
    with receiving() as receiver:
        sender.start()
        prediction = eve.predictions.create(version="sums", input={"x": ROW}, webhook=receiver.url)
        started, completed = until(lambda: len(receiver.messages) == 2 and receiver.messages)
        quiet = eve.predictions.create(
            version="sums", input={"x": ROW}, webhook=receiver.url, webhook_events_filter=["completed"]
        )
        until(lambda: len(receiver.messages) == 3)
        until(lambda: service.db["deliveries"].count_documents({"status": "delivered"}) == 3)
        sender.close()
    assert (started.json["id"], started.json["status"], started.json["output"]) == (prediction.id, "processing", None)
    assert completed.json == json.loads(json.dumps(eve._request("GET", f"/v1/predictions/{prediction.id}").json()))
    assert (completed.json["status"], completed.json["output"]) == ("succeeded", [6, 7])
    assert (receiver.messages[2].json["id"], receiver.messages[2].json["status"]) == (quiet.id, "succeeded")
    for message in receiver.messages:
        Webhooks.validate(headers=message.headers, body=message.body.decode(), secret=secret, tolerance=60)
        with pytest.raises(InvalidSignatureError):
            Webhooks.validate(headers=message.headers, body=message.body.decode() + " ", secret=secret)
