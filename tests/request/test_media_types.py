from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.request.media_types import (
    ANY,
    ARRAY_STRIPPED,
    CSV,
    FORM,
    GEOJSON,
    JSON,
    OBJECT,
    OBJECT_STRIPPED,
    OCTETS,
    OPENAPI,
    TEXT,
    XML,
    MediaType,
    content_type_header,
    parse_accept,
    parse_media_type,
    plan_of,
)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/json garbage", JSON),
        ("application/geo+json", GEOJSON),
        ("text/csv;header=absent", CSV),
        ("text/plain", TEXT),
        ("text/xml", XML),
        ("application/openapi+json", OPENAPI),
        ("application/x-www-form-urlencoded", FORM),
        ("application/octet-stream", OCTETS),
        ("*/*", ANY),
        ("application/vnd.pgrst.object+json", OBJECT),
        ("ApplicatIon/vnd.PgRsT.object", OBJECT),
        ("application/vnd.pgrst.object+json;nulls=stripped", OBJECT_STRIPPED),
        ("application/vnd.pgrst.object+json; Nulls = stripped", OBJECT_STRIPPED),
        ("application/vnd.pgrst.object+json;nulls=kept", OBJECT),
        ("application/vnd.pgrst.array+json;nulls=stripped", ARRAY_STRIPPED),
        ("application/vnd.pgrst.array", JSON),
        ("application/vnd.pgrst.plan", plan_of(JSON, "text", ())),
        ("application/vnd.pgrst.plan;", plan_of(JSON, "text", ())),
        ('application/vnd.pgrst.plan+json;for="text/csv"', plan_of(CSV, "json", ())),
        (
            'application/vnd.pgrst.plan+text ; for="text/xml" ; options=wal|analyze|other',
            plan_of(XML, "text", ("analyze", "wal")),
        ),
        (
            'application/vnd.pgrst.plan;for="application/vnd.pgrst.object";wat="a;b"',
            plan_of(OBJECT, "text", ()),
        ),
        ("application/vnd.pgrst.object+", MediaType("other", "application/vnd.pgrst.object+")),
        (
            "application/vnd.pgrst.object+csv",
            MediaType("other", "application/vnd.pgrst.object+csv"),
        ),
        ("application/vnd.twkb", MediaType("other", "application/vnd.twkb")),
        ("Text/HTML;level=1", MediaType("other", "Text/HTML;level=1")),
        ("nonsense", MediaType("other", "nonsense")),
        ("", MediaType("other", "")),
    ],
)
def test_media_types(text: str, expected: MediaType) -> None:
    assert parse_media_type(text) == expected


def test_a_plan_is_written_in_full() -> None:
    assert plan_of(JSON, "json", ("analyze", "buffers")).text == (
        'application/vnd.pgrst.plan+json; for="application/json"; options=analyze|buffers'
    )


@pytest.mark.parametrize(
    "media_type, expected",
    [
        (JSON, b"application/json; charset=utf-8"),
        (CSV, b"text/csv; charset=utf-8"),
        (OBJECT_STRIPPED, b"application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8"),
        (
            plan_of(JSON, "text", ()),
            b'application/vnd.pgrst.plan+text; for="application/json"; charset=utf-8',
        ),
        (OCTETS, b"application/octet-stream"),
        (MediaType("other", "image/png"), b"image/png"),
    ],
)
def test_content_types_name_their_charset(media_type: MediaType, expected: bytes) -> None:
    assert content_type_header(media_type) == expected


@pytest.mark.parametrize(
    "header, expected",
    [
        (None, (ANY,)),
        ("", ()),
        ("text/csv", (CSV,)),
        ("text/csv, application/json", (CSV, JSON)),
        ("text/csv;q=0.5, application/json", (JSON, CSV)),
        ("text/csv; q=0.5 , application/json;q=0.7", (JSON, CSV)),
        ("*/*, text/csv", (CSV, ANY)),
        ("application/json, text/csv;header=present", (CSV, JSON)),
        ("text/csv;q=x, application/json;q=0.9", (CSV, JSON)),
        ("text/csv;q=.5, application/json;q=0.9", (CSV, JSON)),
        ("*/*;q=0.1,text/xml;q=1.0e0", (XML, ANY)),
    ],
)
def test_accept_is_ordered_by_quality(
    header: str | None, expected: tuple[MediaType, ...]
) -> None:
    assert parse_accept(header) == expected


@given(st.text(max_size=40))
def test_any_text_is_some_media_type(text: str) -> None:
    parsed = parse_media_type(text)
    assert parsed.kind != "other" or parsed.text == text
    assert len(parse_accept(text)) == (text.count(",") + 1 if text else 0)


@given(
    st.sampled_from([JSON, CSV, XML, OBJECT, OBJECT_STRIPPED, ARRAY_STRIPPED]),
    st.sampled_from(["json", "text"]),
    st.sampled_from([(), ("analyze",), ("verbose", "wal")]),
)
def test_a_plan_reads_as_it_is_written(
    explained: MediaType, form: str, options: tuple[str, ...]
) -> None:
    plan = plan_of(explained, "json" if form == "json" else "text", options)
    assert parse_media_type(plan.text) == plan
