from empathy_lib.sft.figures import token_strip


def test_tokens_are_escaped_each_on_its_colour_and_a_line_break_is_seen():
    page = token_strip(["<L1>", "累\n"], ["#eee", "#fcc"])
    assert "&lt;L1&gt;" in page and "<L1>" not in page and "累⏎" in page
    assert page.index("#eee") < page.index("&lt;L1&gt;") < page.index("#fcc") < page.index("累")
