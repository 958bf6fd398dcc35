"""Ten million jobs in minutes: PostgreSQL makes the rows itself, without their indexes, which are made again afterwards."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

OWNERS, STEP, YEAR = 1000, 500_000, 365 * 86_400_000
TABLES = ("jobs_job", "files_storedfile", "images_generatedimage")
NOUNS = (
    "(ARRAY['lake', 'house', 'mountain', 'river', 'tree', 'cat', 'portrait', 'boat', 'bridge', 'city', 'forest'])[1 + n % 11]"
)
SHARED = """SELECT n, (LPAD(TO_HEX(milliseconds), 12, '0') || '7' || SUBSTR(MD5(n::text), 1, 3) || '8'
            || SUBSTR(MD5(n::text), 4, 15))::uuid AS id,
        TO_TIMESTAMP(milliseconds / 1000.0) AS moment, 'owner-' || n % {owners} AS owner_key,
        (ARRAY['starter', 'sdxl-base-1.0', 'stable-diffusion-v1-5', 'sd-turbo'])[1 + n % 7 % 4] AS model_id,
        'A serene ' || {nouns} || ' at sunset, number ' || n AS prompt, JSONB_BUILD_OBJECT('steps', 20, 'seed', n) AS params,
        CASE WHEN n % {every} = 0 OR n % 20 < 17 THEN 'succeeded' WHEN n % 20 < 19 THEN 'failed' ELSE 'cancelled' END AS status,
        CASE WHEN n % {every} = 0 THEN 'upscale' ELSE 'noop' END AS kind
    FROM (SELECT n, ({begin} + {year} * n / {count})::bigint AS milliseconds
        FROM GENERATE_SERIES({start}::bigint, {end}) AS n) AS numbers"""
JOBS = """INSERT INTO jobs_job (id, kind, status, model_id, params, prompt, progress, warnings, timings, priority, batch_key, attempt,
        max_attempts, owner_key, body_hash, event_sequence, created_at, available_at, started_at, finished_at)
    SELECT id, kind, status, model_id, params, prompt, '{{"fraction": 1.0}}', '[]', '{{"queue": 0.01}}', 0, '', 1, 5, owner_key, '', 4,
        moment, moment, moment + INTERVAL '1 second', moment + INTERVAL '3 seconds' FROM ({shared}) AS jobs"""
FILES = """INSERT INTO files_storedfile (id, owner_key, purpose, name, thumbnail_name, sha256, content_type, size, width, height)
    SELECT id, owner_key, 'output', 'output/' || n || '.png', 'output/' || n || '_t.webp', MD5(n::text), 'image/png', 1, 512, 512
    FROM ({shared}) AS jobs WHERE n % {every} = 0"""
PICTURES = """INSERT INTO images_generatedimage (file_id, origin, job_id, index, owner_key, model_id, prompt, negative_prompt, seed,
        steps, guidance_scale, scheduler, width, height, parameters, scores, clip_score, rating, favourite, created_at)
    SELECT id, 'generated', id, 0, owner_key, model_id, prompt, '', n, 20, 7.0, '', 512, 512, params, '{{}}', 20 + n % 997 / 100.0,
        CASE WHEN n % 7 < 4 THEN 1 + n % 5 END, n % 53 = 0, moment FROM ({shared}) AS jobs WHERE n % {every} = 0"""


def fill_postgres(count: int, pictures_every: int = 5) -> None:
    """So many jobs over the last year, of OWNERS owners, each fifth with a picture (whose file is not there)."""
    begin = int(time.time() * 1000) - YEAR
    with without_indexes():
        for start in range(1, count + 1, STEP):
            end = min(start + STEP - 1, count)
            values = {"begin": begin, "year": YEAR, "count": count, "start": start, "end": end, "every": pictures_every}
            shared = SHARED.format(owners=OWNERS, nouns=NOUNS, **values)
            for statement in (JOBS, FILES, PICTURES):
                execute(statement.format(shared=shared, **values))
            print(f"  {end:,} jobs", flush=True)
    execute("VACUUM ANALYZE")


@contextmanager
def without_indexes() -> Iterator[None]:
    """But for those of constraints."""
    tables = ", ".join(f"'{table}'" for table in TABLES)
    found = execute(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ({tables}) "  # noqa: S608  (names of ours)
        "AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    )
    for name, _ in found:
        execute(f'DROP INDEX "{name}"')
    yield
    execute("SET maintenance_work_mem = '512MB'")
    for _, definition in found:
        execute(definition)


def execute(statement: str) -> list[tuple[str, ...]]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
