"""What the page shows of a run is what the library draws and scores."""

import base64
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from page_client import TOKEN, Client, serving
from PIL import Image

import fourfold
from fourfold.core import GenerativeModel
from fourfold.engine import Run
from fourfold.spaces import Categories, Images, Text, Vectors
from fourfold.tasks import generate
from fourfold_web.guard import Limits

FLOW, DIGITS, LETTERS, GIVEN, TABLE = "flow", "digits <b>", "deep/letters", "given", "table"
FRAME = pd.DataFrame({"age": [i + 0.5 for i in range(20, 56)], "kind <b>": ["a", "b", "a", "<i>c</i>"] * 9})
PIXELS = Images(1, 4, 4, given=Categories(("odd", "even")))


def models() -> dict[str, GenerativeModel]:
    torch.manual_seed(0)
    return {
        FLOW: fourfold.build("flow", Vectors(2), size="xs"),
        DIGITS: fourfold.build("diffusion", PIXELS, size="xs"),
        LETTERS: fourfold.build("autoregressive", Text(length=16), size="xs"),
        GIVEN: fourfold.build("flow", Vectors(3, given=Vectors(2)), size="xs"),
        TABLE: fourfold.build("autoregressive", fourfold.load(FRAME, given="kind <b>").space, size="xs"),
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: Path(Run(model).save(folder / name).folder or "") for name, model in models().items()}


@pytest.fixture(scope="module")
def page(runs: dict[str, Path]) -> Iterator[Client]:
    with serving(runs) as client:
        yield client


def rows(client: Client, path: str, body: object) -> list[dict]:
    answer = client.ask(path, body)
    assert answer.status == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def upload(name: str, content: bytes) -> dict[str, str]:
    return {"name": name, "content": base64.b64encode(content).decode()}


def array_of(x: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(x, dtype="float32"))
    return file.getvalue()


def pixels(html: str) -> np.ndarray:
    return np.array(
        Image.open(io.BytesIO(base64.b64decode(html.partition("base64,")[2].partition('"')[0]))).convert("L")
    )


def test_samples_are_those_of_the_library_in_batches_of_any_size(page: Client, runs: dict[str, Path]):
    points = [
        point for row in rows(page, "/api/runs/flow/sample", {"n": 30, "seed": 3}) for point in row.get("points", [])
    ]
    torch.testing.assert_close(torch.tensor(points), Run.load(runs[FLOW]).sample(30, seed=3), rtol=1e-4, atol=1e-5)


def test_a_condition_of_its_own_for_each_sample(page: Client, runs: dict[str, Path]):
    asked = {"n": 5, "given": ["odd", "even"], "steps": 3}
    shown = [p for row in rows(page, "/api/runs/digits%20%3Cb%3E/sample", asked) for p in row.get("pictures", [])]
    x = Run.load(runs[DIGITS]).sample(5, given=torch.tensor([0, 1, 0, 1, 0]), steps=3)
    expected = [PIXELS.picture_of_one(picture)._repr_html_() for picture in x]
    assert shown == expected


def test_an_upload_that_is_refused_is_called_by_its_own_name(page: Client):
    answer = page.ask("/api/runs/given/sample", {"n": 2, "condition": upload("../etc/mine.csv", b"a,b,c\n1,2,3\n")})
    assert answer.status == 400
    assert answer.json["error"].startswith("mine.csv: ")


@pytest.mark.parametrize("content", [b"a,b,c\n", b""])
def test_a_file_of_conditions_needs_one_row(page: Client, content: bytes):
    answer = page.ask("/api/runs/given/sample", {"n": 2, "condition": upload("mine.csv", content)})
    assert answer.status == 400
    assert "at least one row, got none" in answer.json["error"]


def test_given_columns_stand_beside_the_drawn_ones(page: Client, runs: dict[str, Path]):
    asked = {"n": 6, "seed": 1, "condition": upload("g.csv", b"kind <b>\na\nb\n")}
    shown = rows(page, "/api/runs/table/sample", asked)[:-1]
    assert {tuple(row["columns"]) for row in shown} == {("kind <b>", "age")}
    kinds, ages = zip(*(cells for row in shown for cells in row["rows"]), strict=True)
    assert kinds == ("a", "b") * 3
    x = Run.load(runs[TABLE]).sample(6, given={"kind <b>": list(kinds)}, seed=1)
    assert ages == pytest.approx(Run.load(runs[TABLE]).model.space.table(x)["age"])


def test_a_model_says_whether_it_has_codes(page: Client):
    assert [page.ask(f"/api/runs/{name}/about.json").json["codes"] for name in (FLOW, "deep/letters")] == [True, False]


def test_a_path_ends_at_the_samples_of_its_seeds(page: Client, runs: dict[str, Path]):
    way = rows(page, "/api/runs/flow/between", {"n": 5, "seed": 1, "other": 2})[0]["points"]
    run = Run.load(runs[FLOW])
    ends = torch.cat([run.sample(1, seed=1), run.sample(1, seed=2)])
    torch.testing.assert_close(torch.tensor(way)[[0, -1]], ends, rtol=1e-4, atol=1e-4)


def test_what_is_outside_the_hole_stays(page: Client):
    mask = [int(place % 4 >= 2) for place in range(16)]
    first, *_ = rows(page, "/api/runs/digits%20%3Cb%3E/fill", {"n": 2, "mask": mask, "seed": 1})
    original = pixels(first["original"])
    for html in first["pictures"]:
        filled = pixels(html)
        half = filled.shape[1] // 2
        assert (filled[:, :half] == original[:, :half]).all()


def test_a_text_is_that_of_the_library(page: Client, runs: dict[str, Path]):
    parts = rows(page, "/api/runs/deep/letters/write", {"prefix": "ab", "length": 12, "seed": 4})
    text = "".join(row.get("text", "") for row in parts)
    assert text == generate(Run.load(runs[LETTERS]).model, "ab", length=12, seed=4)[0]


def test_a_condition_may_be_a_file_whose_rows_take_turns(page: Client, runs: dict[str, Path], tmp_path: Path):
    (tmp_path / "c.npy").write_bytes(content := array_of([[0.5, -1.0], [1.5, 2.0]]))
    asked = {"n": 5, "seed": 2, "condition": upload("c.npy", content)}
    given, *shown = rows(page, "/api/runs/given/sample", asked)
    assert given["given"]["points"] == [[0.5, -1.0], [1.5, 2.0]]
    c = torch.tensor([[0.5, -1.0], [1.5, 2.0]])[torch.arange(5) % 2]
    expected = Run.load(runs[GIVEN]).sample(5, given=c, seed=2)
    assert [text for row in shown for text in row.get("pictures", [])] == [
        Vectors(3).picture_of_one(x)._repr_html_() for x in expected
    ]


def test_numbers_of_a_condition_may_be_written(page: Client, runs: dict[str, Path]):
    shown = rows(page, "/api/runs/given/sample", {"n": 1, "given": ["0.5", "-1"]})
    expected = Run.load(runs[GIVEN]).sample(1, given=[0.5, -1.0])
    assert shown[0]["pictures"] == [Vectors(3).picture_of_one(expected[0])._repr_html_()]
    assert page.ask("/api/runs/given/about.json").json["given"]["count"] == 2
    assert "must be numbers" in page.ask("/api/runs/given/sample", {"given": ["a", "b"]}).json["error"]


def test_scores_are_given_the_condition_of_each_example(page: Client, runs: dict[str, Path]):
    x, c = torch.randn(4, 3), torch.randn(4, 2)
    files = {"file": upload("x.npy", array_of(x)), "condition": upload("c.npy", array_of(c))}
    first, *_ = rows(page, "/api/runs/given/score", files)
    np.testing.assert_allclose(first["nats"], Run.load(runs[GIVEN]).log_prob(x, c).nats.tolist(), rtol=1e-4)


def test_scores_are_those_of_the_library_with_their_kind(page: Client, runs: dict[str, Path]):
    x = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")
    first, *_ = rows(page, "/api/runs/flow/score", {"file": upload("x.npy", array_of(x))})
    result = Run.load(runs[FLOW]).log_prob(x)
    np.testing.assert_allclose(first["nats"], result.nats.tolist(), rtol=1e-4)
    assert first["kind"] == "exact"


def test_what_a_run_is_and_what_can_be_asked_of_it(page: Client):
    about = page.ask("/api/runs/digits%20%3Cb%3E/about.json").json
    assert about["given"] == {"kind": "choice", "names": ["odd", "even"]}
    assert about["pixels"]
    assert about["guided"]
    assert "DPMSolver" in about["samplers"]
    assert page.ask("/api/runs/deep/letters/about.json").json["writes"]
    assert [run["name"] for run in page.ask("/api/runs.json").json] == [FLOW, DIGITS, LETTERS, GIVEN, TABLE]


@pytest.mark.parametrize(
    ("path", "body", "status", "noun"),
    [
        ("/api/runs/none/sample", {}, 400, "run"),
        ("/api/runs/../../etc/sample", {}, 400, "run"),
        ("/api/runs/flow/sample", {"n": 10**9}, 400, "n must be 1 to 1024"),
        ("/api/runs/flow/sample", {"n": "many"}, 400, "n must be a number"),
        ("/api/runs/flow/sample", {"n": True}, 400, "n must be a number"),
        ("/api/runs/flow/sample", {"seed": -1}, 400, "seed"),
        ("/api/runs/flow/sample", {"folder": "/etc"}, 400, "folder"),
        ("/api/runs/flow/sample", {"sampler": "<script>"}, 400, "sampler"),
        ("/api/runs/flow/sample", {"given": "/etc/passwd"}, 400, "given"),
        ("/api/runs/flow/sample", {"given": ["/etc/passwd"]}, 400, "condition"),
        ("/api/runs/flow/write", {}, 400, "text"),
        ("/api/runs/flow/fill", {"mask": [1]}, 400, "pictures"),
        ("/api/runs/flow/nothing", {}, 404, "page"),
        ("/api/runs/flow/score", {}, 400, "file"),
        ("/api/runs/flow/score", {"file": {"name": "../../x", "content": ""}}, 400, "ending"),
        ("/api/runs/flow/score", {"file": {"name": "x.npy", "content": "<script>"}}, 400, "base64"),
        ("/api/runs/flow/score", {"file": {"name": "x.npy", "content": "k05VTVBZ"}}, 400, ""),
        ("/api/runs/flow/score", {"file": "/etc/passwd"}, 400, "file must be a file"),
        ("/api/runs/flow/score", {"file": {"name": "x.npy"}}, 400, "name and content"),
        ("/api/runs/flow/sample", {"condition": {"name": "/etc/passwd", "content": ""}}, 400, "ending"),
        ("/api/runs/flow/answer", {"service": "chat", "texts": ["a"]}, 400, "service"),
        ("/api/runs/flow/answer", {"service": "os.system"}, 400, "service"),
    ],
)
def test_requests_that_make_no_sense_are_refused(page: Client, path: str, body: object, status: int, noun: str):
    answer = page.ask(path, body)
    assert answer.status == status, answer.text
    assert noun in answer.json["error"]


def test_a_request_that_takes_too_long_ends_and_the_next_is_answered(runs: dict[str, Path]):
    with serving(runs, Limits(work=0.5)) as hurried:
        answer = hurried.ask("/api/runs/digits%20%3Cb%3E/sample", {"n": 1024, "steps": 1000})
        assert "0.5 s" in answer.text
        assert hurried.ask("/api/runs/flow/sample", {"n": 1}).status == 200


def test_the_work_for_a_client_that_is_gone_ends(runs: dict[str, Path]):
    with serving(runs) as client:
        client.ask("/api/runs/flow/sample", {"n": 1})
        with socket.create_connection(("127.0.0.1", client.port)) as gone:
            body = json.dumps({"n": 1024, "steps": 1000}).encode()
            head = f"POST /api/runs/digits%20%3Cb%3E/sample HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n"
            head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
            gone.sendall(head.encode() + body)
            gone.recv(10)
        assert client.ask("/api/runs/flow/sample", {"n": 1}).status == 200  # the timeout of the client is the check


def test_the_log_of_a_run_in_progress(tmp_path: Path):
    (tmp_path / "model.json").write_text("{}")
    lines = [json.dumps({"step": i, "loss": 1 / (i + 1), "name": "x"}) for i in range(1000)]
    (tmp_path / "log.jsonl").write_text("\n".join([*lines, "[1]", '{"step": 1000, "loss": NaN}', '{"step": 10']))
    with serving({"mine": tmp_path}) as client:
        log = client.ask("/api/runs/mine/log.json").json
        assert log["curves"].keys() == {"loss"}
        assert len(log["curves"]["loss"]) <= 400
        assert log["curves"]["loss"][0] == [0, 1.0]
        assert not log["trained"]
        assert client.ask("/api/runs/mine/about.json").status == 400  # no whole model
