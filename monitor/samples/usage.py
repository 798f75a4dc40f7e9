"""How many tokens a request takes, in the words of the model's provider."""

from __future__ import annotations

from monitor.samples.turns import Turn


def usage_of(turn: Turn) -> tuple[tuple[int, int, int], str, str, tuple[int, int, int, int, int]]:
    """Logged input, output and total; the two details ("" where there are none); what it comes to.

    What it comes to is inclusive input and output, reasoning, cache reads, cache writes.
    """
    session = turn.session
    shape, context, output, thinking = session.model.shape, session.context, turn.output, turn.thinking
    warm = session.seen >= 1024 and turn.chat_id[-1] != "0"  # now and then a cache has expired
    if shape == "anthropic":
        fresh = 3 + context % 11
        if turn.outcome[3] == "cut":
            # message_start is all that came: no cache counts, one token of output.
            return (fresh, 1, fresh + 1), "", "", (fresh, 1, 0, 0, 0)
        read = session.seen if warm else 0
        write = context - fresh - read if context - fresh > read else 0
        details = f'{{"cache_creation_input_tokens":{write},"cache_read_input_tokens":{read}}}'
        whole = fresh + read + write
        return (fresh, output, whole + output), details, "", (whole, output, 0, read, write)
    if shape == "gemini":
        cached = session.seen * 9 // 10 if warm else 0
        inside = f'{{"cached_content_token_count":{cached}}}' if cached else ""
        outside = f'{{"thoughts_token_count":{thinking}}}' if thinking else ""
        used = (context, output, thinking, cached, 0)
        return (context, output - thinking, context + output), inside, outside, used
    numbers = (context, output, context + output)
    if shape == "plain":
        return numbers, "", "", (context, output, 0, 0, 0)
    cached = session.seen // 128 * 128 if warm else 0
    used = (context, output, thinking, cached, 0)
    if shape == "compact":
        return (
            numbers,
            f'{{"cached_tokens":{cached}}}',
            f'{{"reasoning_tokens":{thinking}}}' if thinking else "",
            used,
        )
    return (
        numbers,
        f'{{"audio_tokens":0,"cached_tokens":{cached}}}',
        f'{{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":{thinking},'
        f'"rejected_prediction_tokens":0}}',
        used,
    )
