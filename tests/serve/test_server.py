"""The server, asked by OpenAI's own client and by clients that misbehave."""

from __future__ import annotations

import json
import socket
import threading

import httpx
import openai
import pytest
import torch
from live_servers import NAME, Paced, all_free, live, tiny_speaker, wait_until

from decodeloop.decode import PromptLookup, Sampling, Sequence, TextStream, generate
from decodeloop.serve import sse_events

PROMPT = "hello world"
CHAT = [{"role": "user", "content": PROMPT}]


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    return tiny_speaker(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def server(speaker):
    with live(speaker, most_waiting=2) as server:
        yield server


@pytest.fixture
def slow(speaker):
    """A server whose steps take 10 ms, or as long as it is held."""
    model = Paced(speaker.llm.model, 0.01)
    with live(speaker, model, most_waiting=1) as server:
        yield server
        model.may_go.set()


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", timeout=20, max_retries=0)


def alone(speaker, ids, new, stop=(), **options):
    """What `generate` makes of it: the tokens, and their text."""
    model, eos = speaker.llm.model, speaker.llm.eos_ids
    tokens = list(generate(model, torch.tensor([ids]), new, eos_ids=eos, **options))
    text = Sequence(torch.tensor([ids]), new, text_stream=TextStream(speaker.llm.tokenizer, stop))
    for token in tokens:
        if text.finish_reason is None:
            text.take(token)
    text.end("eos")
    return tokens, text.text


def prompt_ids(speaker, text=PROMPT):
    return speaker.llm.tokenizer.encode(text, beginning=True)


# OpenAI's own client


def test_the_model_is_listed_and_found_by_its_name(client):
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).id == NAME
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-5' here"):
        client.models.retrieve("gpt-5")


def test_a_completion_is_what_generate_makes(client, speaker):
    tokens, text = alone(speaker, prompt_ids(speaker), 12)
    told = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=12, temperature=0)
    assert told.choices[0].text == text
    assert told.choices[0].finish_reason == ("length" if len(tokens) == 12 else "stop")
    assert told.usage.prompt_tokens == len(prompt_ids(speaker))
    assert told.usage.completion_tokens == len(tokens)
    assert told.usage.total_tokens == told.usage.prompt_tokens + len(tokens)


def test_a_stream_is_the_same_in_pieces_and_ends_with_the_usage(client, speaker):
    _, text = alone(speaker, prompt_ids(speaker), 12)
    chunks = list(
        client.completions.create(
            model=NAME, prompt=PROMPT, max_tokens=12, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert "".join(c.choices[0].text for c in chunks[:-1]) == text
    assert len(chunks) > 4
    assert [c.choices[0].finish_reason for c in chunks[:-2]] == [None] * (len(chunks) - 2)
    assert chunks[-2].choices[0].finish_reason == "length"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 12)


def test_each_chunk_says_how_many_tokens_there_are_by_now_if_it_is_asked_to(client):
    chunks = list(
        client.completions.create(
            model=NAME, prompt=PROMPT, max_tokens=9, temperature=0, stream=True,
            stream_options={"include_usage": True, "continuous_usage_stats": True},
            extra_body={"ignore_eos": True},
        )
    )  # fmt: skip
    made = [chunk.usage.completion_tokens for chunk in chunks]
    assert made == sorted(made)
    assert made[-2:] == [9, 9]
    assert made[0] < 9
    assert len({chunk.usage.prompt_tokens for chunk in chunks}) == 1


def test_a_chat_reads_the_template_and_says_who_speaks_once(client, speaker):
    ids = speaker.llm.message_ids(CHAT)
    _, text = alone(speaker, ids, 8)
    asked = {"model": NAME, "messages": CHAT, "max_completion_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    assert whole.choices[0].message.role == "assistant"
    assert whole.choices[0].message.content == text
    assert whole.usage.prompt_tokens == len(ids)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert [c.choices[0].delta.role for c in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text
    assert len({c.id for c in chunks}) == 1


def test_content_may_come_in_parts_and_a_developer_is_a_system(client):
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": " world"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    plain = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}]
    asked = {"model": NAME, "max_tokens": 4, "temperature": 0}
    a, b = (client.chat.completions.create(messages=m, **asked) for m in (messages, plain))
    assert a.choices[0].message.content == b.choices[0].message.content
    assert a.usage == b.usage


def test_several_answers_differ_and_a_seed_makes_them_again(client):
    def ask(seed):
        told = client.completions.create(
            model=NAME, prompt=PROMPT, max_tokens=8, n=3, seed=seed, temperature=1
        )
        assert [choice.index for choice in told.choices] == [0, 1, 2]
        assert told.usage.completion_tokens > told.usage.prompt_tokens  # all of them; it once
        return [choice.text for choice in told.choices]

    assert ask(3) == ask(3) != ask(4)
    assert len(set(ask(3))) == 3
    streamed = ["", "", ""]
    for chunk in client.completions.create(
        model=NAME, prompt=PROMPT, max_tokens=8, n=3, seed=3, temperature=1, stream=True
    ):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == ask(3)


def test_several_prompts_and_token_ids_are_prompts_too(client, speaker):
    ids = prompt_ids(speaker)
    asked = {"model": NAME, "max_tokens": 5, "temperature": 0}
    one = client.completions.create(prompt=PROMPT, **asked).choices[0].text
    for prompt in (ids, [ids, ids], [PROMPT, PROMPT]):
        told = client.completions.create(prompt=prompt, **asked)
        count = len(told.choices)
        assert [c.text for c in told.choices] == [one] * (1 if prompt is ids else 2)
        assert told.usage.prompt_tokens == count * len(ids)


def test_without_a_limit_a_completion_has_16_tokens_and_a_chat_what_fits(client, server):
    told = client.completions.create(model=NAME, prompt=PROMPT, extra_body={"ignore_eos": True})
    assert told.usage.completion_tokens == 16
    told = client.chat.completions.create(
        model=NAME, messages=CHAT, extra_body={"ignore_eos": True}, temperature=0
    )
    assert told.usage.total_tokens == server.service.longest + 1
    assert told.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_is_never_sent(client, speaker, stream):
    _, text = alone(speaker, prompt_ids(speaker), 30)
    stop = text[5:8]
    asked = {"model": NAME, "prompt": PROMPT, "max_tokens": 30, "temperature": 0, "stop": [stop]}
    if stream:
        chunks = list(client.completions.create(**asked, stream=True))
        told, reason = "".join(c.choices[0].text for c in chunks), chunks[-1].choices[0]
    else:
        reason = client.completions.create(**asked).choices[0]
        told = reason.text
    assert (told, reason.finish_reason) == (text[: text.find(stop)], "stop")


def test_log_probabilities_are_the_models(client, speaker):
    ids = prompt_ids(speaker)
    told = client.completions.create(
        model=NAME, prompt=PROMPT, max_tokens=3, temperature=0, logprobs=2
    )
    with torch.inference_mode():
        expected = speaker.llm.model(torch.tensor([ids]))[0, -1].log_softmax(-1)
    logprobs = told.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.top_logprobs) == 3
    assert logprobs.token_logprobs[0] == pytest.approx(float(expected.max()), abs=1e-4)
    chat = client.chat.completions.create(
        model=NAME, messages=CHAT, max_tokens=3, temperature=0, logprobs=True, top_logprobs=4
    )
    entries = chat.choices[0].logprobs.content
    assert [len(entry.top_logprobs) for entry in entries] == [4, 4, 4]
    assert all(entry.logprob == entry.top_logprobs[0].logprob for entry in entries)
    assert sum(2.7182818**t.logprob for t in entries[0].top_logprobs) <= 1.0001
    plain = client.chat.completions.create(model=NAME, messages=CHAT, max_tokens=1)
    assert plain.choices[0].logprobs is None


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_say_where_in_the_text_each_token_begins(client, stream):
    told = client.completions.create(
        model=NAME, prompt=PROMPT, max_tokens=4, temperature=0, logprobs=0, stream=stream,
        logit_bias={"70": 100},
    )  # fmt: skip
    choices = [chunk.choices[0] for chunk in told] if stream else [told.choices[0]]
    text = "".join(choice.text for choice in choices)
    offsets = [at for choice in choices for at in choice.logprobs.text_offset]
    tokens = [token for choice in choices for token in choice.logprobs.tokens]
    assert offsets == [0, 1, 2, 3]
    assert [text[at] for at in offsets] == tokens


@pytest.mark.parametrize(
    ("asked", "sampling"),
    [
        ({"frequency_penalty": 2.0}, Sampling(frequency_penalty=2.0)),
        ({"presence_penalty": 2.0}, Sampling(presence_penalty=2.0)),
        ({"logit_bias": {"70": 100.0}}, Sampling(logit_bias={70: 100.0})),
        (
            {"extra_body": {"repetition_penalty": 1.5}},
            Sampling(repetition_penalty=1.5),
        ),
        (
            {"temperature": 0.7, "top_p": 0.9, "seed": 5, "extra_body": {"top_k": 9, "min_p": 0.1}},
            Sampling(0.7, 9, 0.9, 0.1),
        ),
    ],
)
def test_each_way_of_choosing_is_that_of_generate(client, speaker, asked, sampling):
    generator = torch.Generator().manual_seed(5)
    _, text = alone(speaker, prompt_ids(speaker), 10, sampling=sampling, generator=generator)
    told = client.completions.create(
        model=NAME, prompt=PROMPT, max_tokens=10, **{"temperature": 0.0, **asked}
    )
    assert told.choices[0].text == text


def test_errors_are_those_that_the_client_knows(client):
    with pytest.raises(openai.BadRequestError, match="max_tokens is 0") as error:
        client.completions.create(model=NAME, prompt=PROMPT, max_tokens=0)
    assert (error.value.param, error.value.type) == ("max_tokens", "invalid_request_error")
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-5' here: expected 'tiny'") as e:
        client.completions.create(model="gpt-5", prompt=PROMPT)
    assert e.value.code == "model_not_found"
    with pytest.raises(
        openai.BadRequestError, match=r"need 30\d positions, and a text may have 256"
    ):
        client.completions.create(model=NAME, prompt=PROMPT, max_tokens=300)
    with pytest.raises(openai.BadRequestError, match=r"has 450 tokens, and a text may have 256"):
        client.completions.create(model=NAME, prompt="hi " * 150)


# clients that misbehave

BASE = {"model": NAME, "prompt": PROMPT, "max_tokens": 4}
HOSTILE = [
    (b"", "no JSON that can be read"),
    (b"{", "no JSON that can be read"),
    (b"[1]", "is JSON of type list"),
    (b"\xff\xfe", "no JSON that can be read"),
    (b"[" * 100_000, "no JSON that can be read"),
    (b'{"a": ' * 5000 + b"1" + b"}" * 5000, "no JSON that can be read"),
    ({"temperature": float("nan")}, "NaN is no number in JSON"),
    ({"temperature": float("inf")}, "Infinity is no number in JSON"),
    (b'{"model": "tiny", "prompt": "x", "temperature": 1e999}', "temperature is Infinity"),
    ({"temperature": "1"}, 'temperature is "1"'),
    ({"temperature": -1}, "temperature is -1"),
    ({"temperature": True}, "temperature is true"),
    ({"max_tokens": 1.5}, "max_tokens is 1.5"),
    ({"max_tokens": -1}, "max_tokens is -1"),
    ({"n": 17}, "n is 17"),
    ({"prompt": ["a"] * 9, "n": 2}, "9 prompts with n = 2 are more than 16 texts"),
    ({"prompt": ""}, "the prompt has no tokens"),
    ({"prompt": []}, "prompt is []"),
    ({"prompt": [999_999]}, "the prompt has token 999999: expected ids below"),
    ({"prompt": [2**70]}, "the prompt has token"),
    ({"prompt": [-1]}, "prompt is [-1]"),
    ({"prompt": {"a": 1}}, "prompt is {"),
    (b'{"model": "tiny", "prompt": "\\ud800"}', "can't be encoded"),
    ({"stop": ""}, "stop is "),
    ({"stop": ["a"] * 5}, "stop is "),
    ({"logit_bias": {"999999": 1}}, "logit_bias names token 999999"),
    ({"logit_bias": {"one": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1 is 101"),
    ({"tools": [{"type": "function"}]}, "tools is not supported"),
    ({"echo": True}, "echo is not supported"),
    ({"temprature": 1}, "temprature is not supported"),
    ({"stream_options": {"include_usage": True}}, "stream_options was given without stream"),
]


@pytest.mark.parametrize(("body", "message"), HOSTILE, ids=lambda x: str(x)[:40])
def test_a_bad_body_is_told_what_is_wrong_with_it_in_one_sentence(server, body, message):
    data = body if isinstance(body, bytes) else json.dumps({**BASE, **body}).encode()
    told = httpx.post(
        f"{server.url}/v1/completions", content=data, headers={"content-type": "application/json"}
    )
    assert told.status_code == 400
    error = told.json()["error"]
    assert message in error["message"]
    assert error["message"].endswith(".")
    assert len(error["message"]) < 400
    assert "Traceback" not in told.text and ".py" not in told.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, "messages is []"),
        ({"messages": "hi"}, 'messages is "hi"'),
        ({"messages": [{"role": "tool", "content": "x"}]}, 'messages.0.role is "tool"'),
        ({"messages": [{"role": "user"}]}, "messages.0.content is missing"),
        ({"messages": [{"role": "user", "content": " "}]}, "message 0, of role user, says ' '"),
        ({"messages": [*CHAT, {"role": "system", "content": "x"}]}, "expected it first"),
        ({"messages": CHAT, "top_logprobs": 2}, "top_logprobs was given without logprobs"),
        ({"messages": CHAT, "max_completion_tokens": 0}, "max_completion_tokens is 0"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_a_bad_chat_is_told_what_is_wrong_with_it(server, body, message):
    told = httpx.post(f"{server.url}/v1/chat/completions", json={"model": NAME, **body})
    assert told.status_code == 400
    assert message in told.json()["error"]["message"]


def test_fields_that_ask_for_nothing_are_let_pass(server):
    nothing = {"tools": [], "echo": False, "best_of": 1, "suffix": None, "user": "me", "n": None}
    told = httpx.post(f"{server.url}/v1/completions", json={**BASE, **nothing})
    assert told.status_code == 200


def test_ten_megabytes_are_refused_and_the_refusal_can_be_read(server):
    data = b'{"prompt": "' + b"x" * 10_000_000 + b'"}'
    told = httpx.post(
        f"{server.url}/v1/completions", content=data, headers={"content-type": "application/json"}
    )
    assert told.status_code == 413
    assert "expected at most 2,000,000" in told.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/%00", 404),
        ("POST", "/health", 405),
    ],
)
def test_what_is_not_served_is_said_in_the_shape_that_clients_know(server, method, path, status):
    told = httpx.request(method, server.url + path)
    assert told.status_code == status
    assert "root:" not in told.text
    assert told.json()["error"]["message"]


def test_a_form_is_refused_since_a_page_of_somebody_elses_could_send_it(server):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        told = httpx.post(
            f"{server.url}/v1/completions", content=json.dumps(BASE), headers={"content-type": kind}
        )
        assert told.status_code == 415


def test_nothing_is_left_of_all_that(server):
    wait_until(lambda: server.service.here == 0)
    assert all_free(server)
    assert server.service.state == "ok"


# clients that leave


def wants(server):
    return f"{server.url}/v1/completions"


LONG = {"model": NAME, "prompt": PROMPT, "max_tokens": 200, "temperature": 0, "ignore_eos": True}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_a_client_that_hangs_up_frees_its_blocks_within_one_step(slow, stream, n):
    model = slow.service.engine.model
    url = httpx.URL(slow.url)
    body = json.dumps({**LONG, "stream": stream, "n": n}).encode()
    with socket.create_connection((url.host, url.port)) as raw:
        raw.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        wait_until(lambda: model.steps > 4)
        assert not all_free(slow)
        model.may_go.clear()
        wait_until(lambda: model.held)  # a step has begun, and does not end
        begun = model.steps
    wait_until(lambda: slow.service._inbox.qsize() == n)  # the news has come
    model.may_go.set()
    wait_until(lambda: all_free(slow))
    assert model.steps == begun, "another step was computed for nobody"
    wait_until(lambda: 'requests_total{status="499"} 1.0' in httpx.get(slow.url + "/metrics").text)


def test_a_client_that_leaves_does_not_disturb_the_others(slow, speaker):
    _, text = alone(speaker, prompt_ids(speaker), 40)
    got = {}

    def stays():
        told = httpx.post(
            wants(slow), json={**BASE, "temperature": 0, "max_tokens": 40}, timeout=20
        )
        got["text"] = told.json()["choices"][0]["text"]

    thread = threading.Thread(target=stays)
    thread.start()
    with httpx.stream("POST", wants(slow), json={**LONG, "stream": True}, timeout=20) as stream:
        next(sse_events(stream.iter_raw()))
    thread.join(20)
    assert got["text"] == text
    wait_until(lambda: all_free(slow))


def test_a_full_server_says_when_to_come_again(slow):
    model = slow.service.engine.model
    model.may_go.clear()
    statuses = []

    def ask():
        told = httpx.post(wants(slow), json=BASE, timeout=20)
        statuses.append((told.status_code, told.headers.get("retry-after")))

    threads = [threading.Thread(target=ask) for _ in range(7)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(statuses) == 3)  # three run, one waits
    model.may_go.set()
    for thread in threads:
        thread.join(20)
    assert sorted(statuses, key=str) == [(200, None)] * 4 + [(429, "1")] * 3


def test_with_a_draft_the_answers_are_the_same_in_fewer_steps(speaker):
    asked = {"prompt": "hello " * 9, "max_tokens": 60, "logit_bias": {"70": 8, "71": 6}}
    told, steps = [], []
    for draft in (None, PromptLookup):
        with live(speaker, draft=draft) as server:
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
            for sampled in ({"temperature": 0}, {"temperature": 1, "seed": 3, "logprobs": 1}):
                one = client.completions.create(model=NAME, **asked, **sampled)
                logprobs = one.choices[0].logprobs
                told.append((one.choices[0].text, one.usage, logprobs and logprobs.tokens))
                with client.completions.create(
                    model=NAME, **asked, **sampled, stream=True
                ) as stream:
                    assert "".join(c.choices[0].text for c in stream) == told[-1][0]
            seen = told_of(server)
            steps.append(float(seen["decodeloop_steps_total"]))
            accepted = float(seen["decodeloop_accepted_draft_tokens_total"])
            assert accepted <= float(seen["decodeloop_draft_tokens_total"])
            wait_until(lambda: all_free(server))
    assert told[:2] == told[2:]
    assert steps[1] < 0.95 * steps[0]
    assert accepted == steps[0] - steps[1]  # each of them saved a step


# what it tells of itself


def told_of(server):
    lines = httpx.get(server.url + "/metrics").text.splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line and line[0] != "#")


def test_metrics_count_what_happened(speaker):
    with live(speaker) as server:
        for _ in range(2):
            told = httpx.post(
                wants(server), json={**LONG, "max_tokens": 5, "prompt": "hello " * 9}
            ).json()
        httpx.post(wants(server), json={**BASE, "max_tokens": 0})
        seen = told_of(server)
        prompt = told["usage"]["prompt_tokens"]
        assert seen['decodeloop_requests_total{status="200"}'] == "2.0"
        assert seen['decodeloop_requests_total{status="400"}'] == "1.0"
        assert seen['decodeloop_texts_total{outcome="answered"}'] == "2.0"
        assert float(seen["decodeloop_generation_tokens_total"]) == 10
        assert float(seen["decodeloop_prompt_tokens_total"]) == 2 * prompt
        assert float(seen["decodeloop_prefix_hit_tokens_total"]) == (prompt - 1) // 8 * 8
        assert float(seen["decodeloop_ttft_seconds_count"]) == 2
        assert float(seen["decodeloop_itl_seconds_count"]) == 8
        assert float(seen["decodeloop_queue_seconds_count"]) == 2
        assert seen["decodeloop_kv_blocks"] == "40.0"
        assert seen["decodeloop_kv_blocks_used"] == seen["decodeloop_requests_running"] == "0.0"


def test_metrics_show_who_runs_and_who_waits(slow):
    slow.service.engine.model.may_go.clear()
    threads = [
        threading.Thread(
            target=httpx.post, args=(wants(slow),), kwargs={"json": BASE, "timeout": 20}
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: slow.service.here == 4)
    slow.service.engine.model.may_go.set()
    wait_until(lambda: float(told_of(slow)["decodeloop_kv_blocks_used"]) >= 0)
    for thread in threads:
        thread.join(20)
    wait_until(lambda: float(told_of(slow)["decodeloop_requests_running"]) == 0)


# how it ends


def test_a_server_that_drains_answers_who_is_inside_and_lets_nobody_in(speaker):
    model = Paced(speaker.llm.model, 0.01)
    got = {}
    with live(speaker, model) as server:
        thread = threading.Thread(
            target=lambda: got.update(told=httpx.post(wants(server), json=BASE, timeout=20))
        )
        keeps = httpx.Client(base_url=server.url)  # a connection that is open already
        assert keeps.get("/health").json() == {"status": "ok"}
        model.may_go.clear()
        thread.start()
        wait_until(lambda: server.service.here == 1)
        server.service.drain()
        assert keeps.get("/health").status_code == 503
        assert keeps.get("/health").json() == {"status": "draining"}
        refused = keeps.post("/v1/completions", json=BASE)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        model.may_go.set()
        server.close(drain=True)
        thread.join(20)
        keeps.close()
    assert got["told"].status_code == 200
    assert server.service.state == "ended"


def test_if_the_engine_dies_those_inside_are_told_and_health_says_so(speaker):
    class Dying(Paced):
        def hidden(self, *arguments, **options):
            if self.steps == 3:
                raise SystemExit
            return super().hidden(*arguments, **options)

    model = Dying(speaker.llm.model, 0.01)
    with live(speaker, model) as server:
        told = httpx.post(wants(server), json=LONG, timeout=20)
        assert told.status_code == 500
        assert told.json()["error"]["type"] == "server_error"
        assert server.service.state == "dead"
    assert isinstance(server.error, SystemExit)


def test_a_stream_that_fails_says_so_and_does_not_pretend_to_be_done(speaker):
    class Faulty(Paced):
        def hidden(self, *arguments, **options):
            if self.steps == 3:
                raise ZeroDivisionError("private words")
            return super().hidden(*arguments, **options)

    with live(speaker, Faulty(speaker.llm.model)) as server:
        told = httpx.post(wants(server), json={**LONG, "stream": True}, timeout=20)
        *_, last = sse_events([told.content])
        assert json.loads(last)["error"]["message"] == "the answer failed: ask again."
        assert "private" not in told.text
        whole = httpx.post(wants(server), json=LONG, timeout=20)
        assert (whole.status_code, "private" in whole.text) == (500, False)


# who may come in


def test_with_a_key_nobody_is_answered_who_has_not_got_it(speaker):
    with live(speaker, api_key="open sesame") as server:
        for path in ("/v1/models", "/health", "/metrics", "/nope"):
            for key in (None, "Bearer", "Bearer open", "open sesame", "Bearer open sesame "):
                headers = {"authorization": key} if key else {}
                if key != "Bearer open sesame ":
                    assert httpx.get(server.url + path, headers=headers).status_code == 401
        refused = httpx.post(wants(server), json=BASE)
        assert refused.json()["error"]["code"] == "invalid_api_key"
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="open sesame", max_retries=0)
        assert client.completions.create(**BASE).usage.completion_tokens > 0
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="guess").models.list()
