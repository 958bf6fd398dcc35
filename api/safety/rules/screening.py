"""What is done with a request whose prompt a rule matches. Registered in jobs/submission_checks.py: it sees the requests of every API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from api.errors import DarkroomError
from api.jobs.kinds import get_kind
from api.jobs.models import Job
from api.safety.cache import ShortCache
from api.safety.models import LONGEST_PROMPT_KEPT, PromptMatch, PromptRule
from api.safety.rules.matching import Matcher, compile_rule, readings
from api.specs import Spec

CHAT, COMPLETION = "chat", "completion"
REFUSED = "The prompt has what this server's rules don't allow."


@dataclass(frozen=True)
class ActiveRule:
    """A rule that is enabled, as this process keeps it."""

    rule: PromptRule
    matcher: Matcher
    owner_keys: frozenset[str]
    """Those whose requests it is for; none: everybody's."""

    def reads(self, job: Job) -> bool:
        requests = PromptRule.Requests.CHATS if job.kind in (CHAT, COMPLETION) else PromptRule.Requests.PICTURES
        return self.rule.requests in (requests, PromptRule.Requests.ALL) and (
            not self.owner_keys or job.owner_key in self.owner_keys
        )


def read_rules() -> tuple[ActiveRule, ...]:
    rules = PromptRule.objects.filter(enabled=True).prefetch_related("keys")
    return tuple(
        ActiveRule(rule, compile_rule(rule.syntax, rule.expression), frozenset(key.prefix for key in rule.keys.all()))
        for rule in rules
    )


active_rules = ShortCache(read_rules)


def screen(job: Job, spec: Spec) -> Callable[[Job], None] | None:
    """See SubmissionCheck. A request that was let in once, and is sent again with its Idempotency-Key, is not read again."""
    rules = [rule for rule in active_rules.get() if rule.reads(job)]
    asked = {**spec.asking_texts, **forged_answers(job, spec, rules)} if rules else {}
    if not asked:
        return None
    texts = {text: readings([text, *read]) for text, read in asked.items()}
    read = list(dict.fromkeys(reading for its in texts.values() for reading in its))
    matches = [(rule.rule, matched) for rule in rules if (matched := rule.matcher.find(read)) is not None]
    if not matches or was_accepted(job):
        return None
    for rule, matched in matches:
        if rule.action == PromptRule.Action.REFUSE:
            record(job, rule, matched, texts, None)
            raise DarkroomError(
                "prompt_refused", 400, rule.message or REFUSED, field="messages" if job.kind == CHAT else "prompt"
            )

    def record_all(job: Job) -> None:
        for rule, matched in matches:
            record(job, rule, matched, texts, job)

    return record_all


def forged_answers(job: Job, spec: Spec, rules: Sequence[ActiveRule]) -> dict[str, tuple[str, ...]]:
    """Earlier answers in the request that a rule matches, and that no model here has given this owner: a client may write what it likes
    into a model's mouth. Looked up only where there is a match.
    """
    found = [text for text in spec.claimed_texts if any(rule.matcher.find(readings([text])) is not None for rule in rules)]
    kind = get_kind(job.kind)
    return {text: () for text in found if not kind.has_written(job.owner_key, text)}


def was_accepted(job: Job) -> bool:
    key = job.idempotency_key
    return bool(key) and Job.objects.filter(owner_key=job.owner_key, idempotency_key=key).exists()


def record(request: Job, rule: PromptRule, matched: str, texts: Mapping[str, Sequence[str]], accepted: Job | None) -> None:
    """`texts`: the request's with their readings, of which the one is kept that the rule matched, or the last one."""
    prompt = next((text for text, read in texts.items() if any(matched in one for one in read)), list(texts)[-1])
    PromptMatch.objects.create(
        rule_name=rule.name,
        action=rule.action,
        matched=matched.replace("\x00", ""),
        prompt=prompt.replace("\x00", "")[:LONGEST_PROMPT_KEPT],
        kind=request.kind,
        owner_key=request.owner_key,
        source=request.source,
        job=accepted,
    )
