"""The tokenizer: what goes in comes out, from a folder and from a GGUF file alike."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from decodeloop.checkpoints import Tokenizer
from decodeloop.checkpoints.gguf_tokenizer import tokenizer_from_gguf
from decodeloop.errors import ModelFileError, UserError

HELLO = [{"role": "user", "content": "hello"}]


def fields_of(tiny, **changes):
    """The metadata of a GGUF file's tokenizer."""
    fields = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": tiny.tokens,
        "token_type": [3 if token in tiny.control_tokens else 1 for token in tiny.tokens],
        "merges": ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or"],
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    named = {f"tokenizer.ggml.{key}": value for key, value in (fields | changes).items()}
    return {key: value for key, value in named.items() if value is not None} | {
        "tokenizer.chat_template": tiny.template
    }


@pytest.fixture(scope="module")
def from_gguf(tiny) -> Tokenizer:
    return tokenizer_from_gguf(fields_of(tiny), "m.gguf")


@pytest.fixture(scope="module", params=["gguf", "folder", "saved"])
def tokenizer(request, tiny, from_gguf, tmp_path_factory) -> Tokenizer:
    """The same tokenizer from each place that it may come from."""
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "gguf":
        return from_gguf
    if request.param == "folder":
        tiny.save_tokenizer(folder)
    else:
        from_gguf.save(folder)
    return Tokenizer.from_folder(folder)


# --- text to tokens and back ---


@given(text=st.text())
def test_what_is_encoded_comes_back(from_gguf, text):
    assert from_gguf.decode(from_gguf.encode(text)) == text


def test_text_is_cut_into_the_longest_merges(tokenizer):
    assert tokenizer.pieces(tokenizer.encode("hello world")) == ["hello", " wor", "l", "d"]


def test_digits_stand_alone(tokenizer):
    assert tokenizer.pieces(tokenizer.encode("1 23")) == ["1", " ", "2", "3"]


def test_special_tokens_written_out_are_one_token(tokenizer):
    ids = tokenizer.encode("<|im_start|>hello<|im_end|>")
    assert ids == [1, tokenizer.token_id("hello"), 2]
    assert tokenizer.decode(ids) == "<|im_start|>hello<|im_end|>"
    assert tokenizer.decode(ids, skip_special=True) == "hello"


def test_half_a_character_decodes_to_the_replacement_character(tokenizer):
    first, *rest = tokenizer.encode("é")
    assert len(rest) == 1
    assert tokenizer.decode([first]) == "\ufffd"
    assert tokenizer.decode([first, *rest]) == "é"


def test_the_vocabulary_and_its_ids(tiny, tokenizer):
    assert tokenizer.vocabulary == len(tiny.tokens)
    assert [tokenizer.token_id(token) for token in tiny.tokens] == list(range(len(tiny.tokens)))
    assert tokenizer.token_id("no such token") is None


def test_the_vocabulary_reaches_to_the_largest_id():
    assert Tokenizer(Backend(models.BPE({"a": 0, "b": 7}, []))).vocabulary == 8
    assert Tokenizer(Backend(models.BPE())).vocabulary == 0


def test_two_tokens_of_one_id_are_refused(tiny):
    tokenizer = Tokenizer(Backend(models.BPE({"a": 0, "b": 3, "c": 3}, [])))
    assert "2 tokens of the tokenizer have the id 3" in tiny.refusal(lambda: tokenizer.vocabulary)


def test_user_defined_tokens_are_matched_whole_and_shown(tiny):
    kinds = fields_of(tiny)["tokenizer.ggml.token_type"]
    tokens = [*tiny.tokens, "<tool>"]
    fields = fields_of(tiny, tokens=tokens, token_type=[*kinds, 4])
    tokenizer = tokenizer_from_gguf(fields, "m.gguf")
    ids = tokenizer.encode("a<tool>")
    assert ids[-1] == len(tiny.tokens)
    assert tokenizer.decode(ids, skip_special=True) == "a<tool>"


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("smollm", ["a", " ", "1", "2", "3", "4"]),
        ("gpt-2", ["a", " 12", "34"]),
        ("default", ["a", " 12", "34"]),
        ("llama-bpe", ["a", " ", "12", "3", "4"]),
        (None, ["a", " 12", "34"]),
    ],
)
def test_each_way_to_cut_text_is_its_own(tiny, pre, pieces):
    merges = ["1 2", "Ġ 12", "3 4"]
    tokens = [*tiny.tokens, "12", "Ġ12", "34"]
    fields = fields_of(tiny, pre=pre, merges=merges, tokens=tokens, token_type=[1] * len(tokens))
    tokenizer = tokenizer_from_gguf(fields, "m.gguf")
    assert tokenizer.pieces(tokenizer.encode("a 1234")) == pieces


def test_a_piece_that_is_a_token_of_llama_3_needs_no_merges(tiny):
    """Its merges don't lead to all of its tokens: 5 tokens came for 1."""
    tokens = [*tiny.tokens, "Ġzebra"]
    kinds = [1] * len(tokens)
    for pre, count in (("llama-bpe", 1), ("gpt-2", 6)):
        fields = fields_of(tiny, pre=pre, tokens=tokens, token_type=kinds)
        assert len(tokenizer_from_gguf(fields, "m.gguf").encode(" zebra")) == count


# --- what stands before a text ---


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, []),
        ({"add_bos_token": True}, [1]),
        ({"add_bos_token": False, "pre": "llama-bpe"}, []),
        ({"pre": "llama-bpe"}, [1]),  # as llama.cpp does where the file doesn't say
    ],
    ids=str,
)
@pytest.mark.parametrize("saved", [False, True])
def test_a_text_begins_as_a_gguf_file_says(tiny, tmp_path, changes, first, saved):
    tokenizer = tokenizer_from_gguf(fields_of(tiny, **changes), "m.gguf")
    if saved:
        tokenizer.save(tmp_path)
        tokenizer = Tokenizer.from_folder(tmp_path)
    plain = tokenizer.encode("hello")
    assert len(plain) == 1
    assert tokenizer.encode("hello", beginning=True) == first + plain


def processed(folder, single, changes=lambda backend: None):
    """A saved tokenizer with a post-processor."""
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)]
    )
    changes(backend)
    backend.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("single", ["<|im_start|> $A", "$A", "<|im_start|> <|im_end|> $A"])
def test_a_text_begins_as_with_transformers(tiny, tmp_path, single):
    tiny.save_tokenizer(tmp_path)
    processed(tmp_path, single)
    ours, theirs = Tokenizer.from_folder(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for text in ("hello world", "<|im_start|>hello", "é"):
        assert ours.encode(text, beginning=True) == theirs(text).input_ids
        assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids


def test_what_stands_after_a_text_would_end_it_and_is_left_out(tiny, tmp_path):
    tiny.save_tokenizer(tmp_path)
    processed(tmp_path, "<|im_start|> $A <|im_end|>")
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.encode("hello", beginning=True) == [1, *tokenizer.encode("hello")]


def test_a_text_is_read_whole_whatever_the_file_says_of_training(tiny, tmp_path):
    def for_training(backend):
        backend.enable_truncation(3)
        backend.enable_padding(length=10**8)

    tiny.save_tokenizer(tmp_path)
    processed(tmp_path, "$A", for_training)
    ours, theirs = Tokenizer.from_folder(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    text = "hello world, hello"
    with tiny.guarded():
        assert ours.encode(text) == theirs(text).input_ids
    assert ours.decode(ours.encode(text)) == text


# --- the chat template ---


def test_a_conversation_is_written_by_the_template(tokenizer):
    assert tokenizer.chat(HELLO) == ("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.chat(HELLO, answer=False) == "<|im_start|>user\nhello<|im_end|>\n"


def test_a_template_may_use_the_special_tokens_and_blocks_on_lines_of_their_own():
    template = "{{ bos_token }}\n  {% for m in messages %}\n{{ m.content }}\n  {% endfor %}\nend"
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = Tokenizer(Backend(models.BPE()), template, special)
    assert tokenizer.chat(HELLO) == "<s>\nhello\nend"


def test_the_template_of_a_gguf_file_may_use_its_special_tokens(tiny):
    fields = fields_of(tiny) | {"tokenizer.chat_template": "{{ bos_token }} {{ eos_token }}"}
    tokenizer = tokenizer_from_gguf(fields, "m.gguf")
    assert tokenizer.chat(HELLO) == "<|im_start|> <|im_end|>"


def test_a_model_without_a_template_says_so():
    with pytest.raises(UserError, match="no chat template"):
        Tokenizer(Backend(models.BPE())).chat(HELLO)


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("{{ raise_exception('roles must\nalternate') }}", "roles must alternate"),
        ("{% for %}", "rejects"),
        ("{{ 1/0 }}", "ZeroDivisionError"),
        ("{{ messages[0]['name'] + '!' }}", "name"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_that_rejects_or_fails_is_one_sentence(tiny, template, part):
    tokenizer = Tokenizer(Backend(models.BPE()), template)
    assert part in tiny.refusal(lambda: tokenizer.chat(HELLO))


@pytest.mark.parametrize(
    ("config", "template"),
    [
        ({}, None),
        ({"chat_template": "a"}, "a"),
        ({"chat_template": [{"name": "tools", "template": "a"}]}, None),
        (
            {
                "chat_template": [
                    {"name": "tools", "template": "a"},
                    {"name": "default", "template": "b"},
                ]
            },
            "b",
        ),
    ],
    ids=str,
)
def test_the_template_is_found_where_it_lies(tiny, tmp_path, config, template):
    tiny.save_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    assert Tokenizer.from_folder(tmp_path).chat_template == template
    (tmp_path / "chat_template.jinja").write_text("c", "utf-8")
    assert Tokenizer.from_folder(tmp_path).chat_template == "c"


def test_a_special_token_may_be_an_object(tiny, tmp_path):
    tiny.save_tokenizer(tmp_path)
    config = {"bos_token": {"content": "<s>"}, "chat_template": "{{ bos_token }}{{ eos_token }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    assert Tokenizer.from_folder(tmp_path).chat(HELLO) == "<s>"


@pytest.mark.parametrize("token", ["<|im_start|>", {"content": "<|im_start|>", "special": True}])
def test_special_tokens_may_lie_in_an_older_file(tiny, tmp_path, token):
    tiny.save_tokenizer(tmp_path)
    template = "{{ bos_token }}|{{ eos_token }}|{{ unk_token is defined }}"
    config = {"chat_template": template, "bos_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    older = {"bos_token": token, "eos_token": "<|im_end|>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(older), "utf-8")
    text = Tokenizer.from_folder(tmp_path).chat(HELLO)
    assert text == "<|im_start|>|<|im_end|>|False"
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert text == theirs.apply_chat_template(HELLO, tokenize=False)


def test_a_special_token_of_the_configuration_is_one_where_it_is_written_out(tiny, tmp_path):
    """`tokenizer.json` alone would cut the openings of a conversation into letters."""
    tiny.save_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    raw = json.loads(path.read_text("utf-8"))
    raw["added_tokens"] = [one for one in raw["added_tokens"] if one["content"] != "<|im_start|>"]
    path.write_text(json.dumps(raw), "utf-8")
    config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    config["pad_token"] = "[no such token]"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    ours, theirs = Tokenizer.from_folder(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    text = ours.chat(HELLO)
    assert ours.encode(text) == theirs(text).input_ids
    assert ours.encode(text)[0] == 1
    assert ours.decode([1, 40], skip_special=True) == theirs.decode([1, 40], True)
    assert ours.vocabulary == len(tiny.tokens)  # and none was added


def test_a_folder_without_a_tokenizer_configuration_has_no_template(tiny, tmp_path):
    tiny.save_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    assert Tokenizer.from_folder(tmp_path).chat_template is None


# --- what is refused ---


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"model": {"type": "BPE"}}'])
def test_an_unreadable_tokenizer_is_named(tiny, tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text, "utf-8")
    message = tiny.refusal(lambda: Tokenizer.from_folder(tmp_path))
    assert str(tmp_path / "tokenizer.json") in message


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        "3",
        '{"chat_template": [{}]}',
        '{"chat_template": 3}',
        '{"bos_token": {}}',
        '{"bos_token": 3}',
        '{"bos_token": "a", "bos_token": "b"}',
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_an_unreadable_configuration_is_named(tiny, tmp_path, config, beside):
    tiny.save_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(config, "utf-8")
    if beside:  # a template in a file of its own does not excuse it
        (tmp_path / "chat_template.jinja").write_text("c", "utf-8")
    message = tiny.refusal(lambda: Tokenizer.from_folder(tmp_path))
    assert str(tmp_path / "tokenizer_config.json") in message


def test_an_unreadable_template_is_named(tiny, tmp_path):
    tiny.save_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    message = tiny.refusal(lambda: Tokenizer.from_folder(tmp_path))
    assert str(tmp_path / "chat_template.jinja") in message


def growing(backend):
    backend.normalizer = normalizers.Sequence([normalizers.Replace("a", "a" * 10)] * 9)


def growing_back(backend):
    backend.decoder = decoders.Sequence([decoders.Replace("a", "a" * 10)] * 9)


@pytest.mark.parametrize("change", [growing, growing_back])
def test_a_tokenizer_that_makes_a_billion_letters_of_one_is_refused(tiny, tmp_path, change):
    tiny.save_tokenizer(tmp_path)
    processed(tmp_path, "$A", change)
    message = tiny.refusal(lambda: Tokenizer.from_folder(tmp_path))
    assert "more than 1000 characters of one" in message


def test_a_text_that_a_tokenizer_has_no_token_for_is_one_sentence(tiny):
    tokenizer = Tokenizer(Backend(models.WordLevel({"a": 0}, unk_token="[UNK]")))
    assert tokenizer.encode("a") == [0]
    assert "can't encode this text" in tiny.refusal(lambda: tokenizer.encode("b"))


def test_a_panic_of_the_library_is_one_sentence(tiny):
    backend = Backend(models.BPE({"a": 0, "b": 1}, []))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("(a|a)*$"), "isolated")
    message = tiny.refusal(lambda: Tokenizer(backend).encode("a" * 30 + "b"))
    assert "can't encode this text" in message


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"model": "llama"}, "'llama'"),
        ({"model": None}, "None"),
        ({"pre": "tekken"}, "'tekken'"),
        ({"pre": ["smollm"]}, "'smollm'"),
        ({"model": ["gpt2"]}, "'gpt2'"),
        ({"bos_token_id": True}, "damaged"),
        ({"bos_token_id": -1}, "damaged"),
        ({"bos_token_id": None, "add_bos_token": True}, "damaged"),
        ({"tokens": None}, "tokens"),
        ({"token_type": None}, "token_type"),
        ({"merges": None}, "merges"),
        ({"tokens": [1, 2, 3]}, "damaged"),
        ({"tokens": "abc"}, "damaged"),
        ({"merges": ["h x"]}, "damaged"),
        ({"merges": ["h x y"]}, "damaged"),
        ({"merges": [3]}, "damaged"),
        ({"merges": ["h no"]}, "damaged"),
        ({"token_type": [3] * 1000}, "damaged"),
        ({"bos_token_id": 5000}, "damaged"),
        ({"eos_token_id": "two"}, "damaged"),
    ],
    ids=str,
)
def test_metadata_that_is_missing_or_wrong_is_refused(tiny, changes, part):
    fields = fields_of(tiny, **changes)
    message = tiny.refusal(lambda: tokenizer_from_gguf(fields, "m.gguf"))
    assert message is not None
    assert message.startswith("m.gguf")
    assert part in message


def test_a_template_that_is_no_text_is_refused(tiny):
    fields = fields_of(tiny) | {"tokenizer.chat_template": ["{{ messages }}"]}
    assert "no text" in tiny.refusal(lambda: tokenizer_from_gguf(fields, "m.gguf"))


def test_a_tokenizer_that_is_not_there_is_a_model_file_error(tmp_path):
    with pytest.raises(ModelFileError, match=r"has no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
