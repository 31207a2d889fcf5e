"""What an agent that keeps its conversation itself is told when it goes on."""

from __future__ import annotations

from agentpane.orchestrator.backends import retelling


def person(*texts: str) -> dict[str, object]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def agent(text: str, *calls: tuple[str, str, dict[str, object]]) -> dict[str, object]:
    used = [{"type": "tool_use", "id": call, "name": name, "input": given} for call, name, given in calls]
    return {"role": "assistant", "content": [{"type": "text", "text": text}, *used]}


def result(call: str, content: object, is_error: bool = False) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": call, "content": content, "is_error": is_error}


def test_at_the_start_the_task_is_the_news_and_the_whole() -> None:
    history = [person("Fix the test")]
    assert retelling.news(history) == "Fix the test"
    assert retelling.retold(history) == "Fix the test"


def test_only_what_came_after_the_last_answer_is_news() -> None:
    history = [person("Fix it"), agent("Done."), person("Not quite", "and be brief")]
    assert retelling.news(history) == "Not quite\n\nand be brief"


def test_results_of_calls_are_no_news() -> None:
    history = [person("Fix it"), agent("I look.", ("1", "Read", {})), {"role": "user", "content": [result("1", "x")]}]
    assert retelling.news(history) == ""


def test_the_whole_tells_calls_results_and_words_in_order_and_ends_with_the_news() -> None:
    call = agent("I look.", ("1", "Read", {"file_path": "a.txt"}))
    answered = {"role": "user", "content": [result("1", [{"type": "text", "text": "gone"}], True)]}
    told = retelling.retold([person("Fix it"), call, answered, agent("Done."), person("Again")])
    places = [told.index(part) for part in ("Fix it", "I look.", "called Read", "as an error: gone", "Done.", "Again")]
    assert places == sorted(places)
    assert told.endswith("Now:\n\nAgain")


def test_results_that_are_not_in_the_history_yet_are_told_too() -> None:
    history = [person("Fix it"), agent("I look.", ("1", "Read", {}))]
    told = retelling.retold(history, [result("1", "what it read")])
    assert "what it read" in told
    assert told.endswith("Go on with the task.")


def test_a_long_past_is_cut_in_the_middle_and_the_news_is_whole() -> None:
    history = [person("Fix it"), agent("x" * 300_000), person("Again")]
    told = retelling.retold(history)
    assert len(told) < 201_000
    assert "Fix it" in told
    assert told.endswith("Again")


def test_a_message_of_plain_text_is_read_as_well() -> None:
    assert retelling.news([{"role": "user", "content": "plain"}]) == "plain"
