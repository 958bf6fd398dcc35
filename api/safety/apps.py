from django.apps import AppConfig


class SafetyConfig(AppConfig):
    name = "api.safety"
    label = "safety"
    verbose_name = "Safety"

    def ready(self) -> None:
        from django.db.models.signals import m2m_changed, post_delete, post_save

        from api.jobs import submission_checks
        from api.safety import checks  # noqa: F401  (its functions register themselves)
        from api.safety.models import PromptRule
        from api.safety.rules.screening import active_rules, screen

        submission_checks.register(screen)
        for signal, sender in ((post_save, PromptRule), (post_delete, PromptRule), (m2m_changed, PromptRule.keys.through)):
            signal.connect(active_rules.forget, sender=sender, dispatch_uid=f"rules {sender.__name__} {id(signal)}")
