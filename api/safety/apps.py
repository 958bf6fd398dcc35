from django.apps import AppConfig


class SafetyConfig(AppConfig):
    name = "api.safety"
    label = "safety"
    verbose_name = "Safety"

    def ready(self) -> None:
        from django.db.models.signals import m2m_changed, post_delete, post_save

        from api.jobs import submission_checks
        from api.safety import checks  # noqa: F401  (its functions register themselves)
        from api.safety.models import KeyChecks, PromptRule
        from api.safety.pictures.policy import key_checks
        from api.safety.rules.screening import active_rules, screen

        submission_checks.register(screen)
        for signal in (post_save, post_delete):
            signal.connect(active_rules.forget, sender=PromptRule, dispatch_uid="rules")
            signal.connect(key_checks.forget, sender=KeyChecks, dispatch_uid="checks")
        m2m_changed.connect(active_rules.forget, sender=PromptRule.keys.through, dispatch_uid="rules")
