from __future__ import annotations

import pickle
from typing import Any

import pytest

from lib_ebca import Boost
from lib_ebca.language.words import TokenisedPrompt, WordError, boost_weights, rows, tokenise, words
from tests import tiny_text


@pytest.fixture(scope="module")
def clip() -> Any:
    return tiny_text.tokenizer()


def spelled(tokenised: TokenisedPrompt, at: tuple[int, ...]) -> str:
    return "".join(tokenised.tokens[row].text for row in at).replace("</w>", " ").strip()


@pytest.mark.parametrize("prompt", ["", "a cat", "A cat's cats, née: 20 dogs!", "two\nlines  and   spaces"])
@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_a_plain_prompt_has_the_tokenizers_own_tokens(prompt: str, pad: str) -> None:
    clip = tiny_text.tokenizer(pad)
    tokenised = tokenise(clip, prompt)
    own = clip(prompt, padding="max_length", max_length=77, truncation=True)
    assert [token.id for token in tokenised.tokens] == own["input_ids"]
    assert tokenised.lengths == (len(clip(prompt, add_special_tokens=False)["input_ids"]),)
    assert {token.weight for token in tokenised.tokens} == {1.0}
    assert tokenised.tokens[-1].id == clip.pad_token_id == (0 if pad == "!" else clip.eos_token_id)


def test_tokens_carry_weights_and_words(clip: Any) -> None:
    tokenised = tokenise(clip, "a (dog:1.3) [cats]")
    described = [(token.text, token.weight, token.word) for token in tokenised.tokens[:8]]
    assert described == [
        ("<|startoftext|>", 1.0, None),
        ("a</w>", 1.0, 0),
        ("dog</w>", 1.3, 1),
        ("ca", 1 / 1.1, 2),
        ("t", 1 / 1.1, 2),
        ("s</w>", 1 / 1.1, 2),
        ("<|endoftext|>", 1.0, None),
        ("<|endoftext|>", 1.0, None),
    ]
    assert words(tokenised, clip) == ("a", "dog", "cats")
    assert tokenise(clip, "").lengths == (0,)


def test_a_word_is_found_whole_and_in_any_case(clip: Any) -> None:
    tokenised = tokenise(clip, "Cats, a CAT and a cat's scat")
    assert words(tokenised, clip) == ("cats", ",", "a", "cat", "and", "a", "cat", "'s", "scat")
    assert [tokenised.tokens[row].word for row in rows(tokenised, "cat", None, clip)] == [3, 6]
    assert [tokenised.tokens[row].word for row in rows(tokenised, "Cat", 2, clip)] == [6]
    assert spelled(tokenised, rows(tokenised, "cats", None, clip)) == "cats"
    assert len(rows(tokenised, "scat", None, clip)) > 1


def test_a_phrase_crosses_emphasis_and_takes_whole_words(clip: Any) -> None:
    tokenised = tokenise(clip, "a (red:1.3) [cat] on a red cats sofa")
    assert spelled(tokenised, rows(tokenised, "red cat", None, clip)) == "red cat"
    assert {tokenised.tokens[row].weight for row in rows(tokenised, "red cat", None, clip)} == {1.3, 1 / 1.1}
    assert spelled(tokenised, rows(tokenised, "a red", 2, clip)) == "a red"
    with pytest.raises(WordError):
        rows(tokenised, "ed cat", None, clip)


def test_occurrences_do_not_overlap(clip: Any) -> None:
    tokenised = tokenise(clip, "cat cat cat cat cat")
    assert rows(tokenised, "cat cat", None, clip) == (1, 2, 3, 4)
    assert rows(tokenised, "cat cat", 2, clip) == (3, 4)
    assert rows(tokenised, "cat", 5, clip) == (5,)


def test_words_in_later_chunks_and_over_their_borders(clip: Any) -> None:
    filler = " ".join(["dog"] * 74)
    tokenised = tokenise(clip, f"{filler} shirt sofa {filler} castle")
    assert len(tokenised.tokens) == 3 * 77 and tokenised.lengths == (75, 75, 1)
    assert rows(tokenised, "shirt", None, clip) == (75,)
    assert rows(tokenised, "shirt sofa", None, clip) == (75, 78)
    assert rows(tokenised, "dog castle", None, clip) == (152, 155)
    assert rows(tokenised, "dog", 75, clip) == (79,)
    assert len(rows(tokenised, "dog", None, clip)) == 148
    broken = tokenise(clip, "a red BREAK cat")
    assert broken.lengths == (4, 1) and rows(broken, "red cat", None, clip) == (2, 3, 4, 78)


def test_a_word_of_several_tokens_over_a_border_stays_one_word(clip: Any) -> None:
    tokenised = tokenise(clip, " ".join(["dog"] * 74) + " cats")
    at = rows(tokenised, "cats", None, clip)
    assert at == (75, 78, 79) and spelled(tokenised, at) == "cats"
    with pytest.raises(WordError):
        rows(tokenised, "cat", None, clip)


def test_the_last_comma_moves_what_follows_it(clip: Any) -> None:
    def lengths(dogs: int, after: int) -> tuple[int, ...]:
        return tokenise(clip, " ".join(["dog"] * dogs) + ", " + " ".join(["cat"] * after)).lengths

    assert lengths(54, 20) == (75,)
    assert lengths(55, 20) == (56, 20)
    # A comma 20 from the end of the chunk still counts, one 21 from it does not.
    assert lengths(55, 30) == (56, 30)
    assert lengths(54, 30) == (75, 10)
    # A comma that opens the next chunk stays there.
    assert lengths(75, 3) == (75, 4)


def test_break_fills_the_chunk(clip: Any) -> None:
    tokenised = tokenise(clip, "dog BREAK cat BREAK")
    assert tokenised.lengths == (1, 1)
    assert [chunk[1].text for chunk in tokenised.chunks] == ["dog</w>", "cat</w>"]
    assert {token.id for token in tokenised.chunks[0][2:]} == {clip.eos_token_id}
    assert tokenise(clip, "BREAK cat").lengths == (0, 1)


def test_every_content_word(clip: Any) -> None:
    tokenised = tokenise(clip, "A cat, with the dog's (shirt) on: 2 sofas & 🙂 !")
    hit = {tokenised.tokens[row].word for row in rows(tokenised, "*", None, clip)}
    content = [word for i, word in enumerate(words(tokenised, clip)) if i in hit]
    assert content == ["cat", "dog", "shirt", "2", "sofas", "🙂"]
    for empty in ("", "a with the, !"):
        with pytest.raises(WordError, match="no content word"):
            rows(tokenise(clip, empty), "*", None, clip)


@pytest.mark.parametrize(
    ("word", "occurrence", "message"),
    [
        ("horse", None, '"horse" is not in the prompt; the words of the prompt are: a, cat, on, a, sofa'),
        ("cat sofa", None, '"cat sofa" is not in the prompt'),
        ("cat", 2, '"cat#2" is not in the prompt: cat is there once'),
        ("a", 3, '"a#3" is not in the prompt: a is there 2 times'),
        ("  ", None, "has no word"),
        ("<|endoftext|>", None, "is not in the prompt"),
    ],
)
def test_a_word_that_is_not_there_is_named(clip: Any, word: str, occurrence: int | None, message: str) -> None:
    with pytest.raises(WordError) as caught:
        rows(tokenise(clip, "a cat on a (sofa:1.2)"), word, occurrence, clip)
    assert message in str(caught.value)
    assert caught.value.words == ("a", "cat", "on", "a", "sofa")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_begin_end_and_padding_are_never_hit() -> None:
    clip = tiny_text.tokenizer("!")
    tokenised = tokenise(clip, "<|endoftext|> cat ! BREAK dog")
    outside = [row for row, token in enumerate(tokenised.tokens) if token.word is None]
    assert len(outside) == 2 * 77 - sum(tokenised.lengths) + 2  # the prompt's own <|endoftext|> and !
    assert not set(outside) & set(rows(tokenised, "*", None, clip))


def test_boost_weights(clip: Any) -> None:
    tokenised = tokenise(clip, "a cat on a sofa with a cat")
    weights = boost_weights(tokenised, [Boost("cat#2", 2), Boost("sofa", 3), Boost("*", 0.5)], clip)
    assert len(weights) == 77
    # a1 cat2 on3-4 a5 sofa6 with7-10 a11 cat12: boosts of one row multiply, little words are not content.
    assert {row: weight for row, weight in enumerate(weights) if weight != 1.0} == {2: 0.5, 6: 1.5}
    assert boost_weights(tokenised, [Boost("cat", 2)], clip)[12] == 2.0
    assert boost_weights(tokenised, [], clip) == (1.0,) * 77
    with pytest.raises(WordError):
        boost_weights(tokenised, [Boost("horse", 2)], clip)


def test_an_inversion_of_several_vectors_is_one_word() -> None:
    clip = tiny_text.tokenizer()
    clip.add_tokens(["<toy>", "<toy>_1", "<toy>_2", "<one>"])
    tokenised = tokenise(clip, "a <toy>, (<one>:1.2) cat")
    assert len(words(tokenised, clip)) == 5
    assert rows(tokenised, "<toy>", None, clip) == (2, 3, 4)
    assert rows(tokenised, "<one> cat", None, clip) == (6, 7)


def test_an_error_lists_at_most_four_hundred_letters() -> None:
    whole, cut = ("a" * 199, "b" * 199), ("a" * 199, "b" * 200)
    assert str(WordError("c", whole, "is none")).endswith(", ".join(whole))
    listed = str(WordError("c", cut, "is none")).split("prompt are: ")[1]
    assert len(listed) == 400 and "…" in listed
