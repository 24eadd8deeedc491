"""The route table: every operation once. It registers the handlers and makes the OpenAPI description."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from banditd.web.api import BATCH_BODY, BodyRule, Route
from banditd.web.dashboard_routes import DASHBOARD_ROUTES
from banditd.web.handlers import (
    arms,
    chat,
    dashboard,
    decisions,
    embeddings,
    feedback,
    messages,
    operations,
    promise,
    reports,
    responses,
    rewards,
    routing,
)
from banditd.web.problems import (
    BUDGET,
    CONFLICT,
    GONE,
    INVALID,
    MALFORMED,
    MEDIA,
    NO_ARM,
    NOT_FOUND,
    TOO_LARGE,
    UNAVAILABLE,
)
from banditd.web.proving_routes import PROVING_ROUTES
from banditd.web.route_parts import BODY, NAME, POLICY, PathParameters, id_of, look
from banditd.web.schemas import arms as arm_schemas
from banditd.web.schemas import chat as chat_schemas
from banditd.web.schemas import messages as message_schemas
from banditd.web.schemas import money as money_schemas
from banditd.web.schemas import promise as promise_schemas
from banditd.web.schemas import reports as report_schemas
from banditd.web.schemas import rewards as reward_schemas
from banditd.web.schemas import routing as route_schemas
from banditd.web.schemas import tags as tag_schemas
from banditd.web.schemas.base import DECISION_PATTERN, OpenAnswerModel, PolicyParameters

_DECISION: Final[PathParameters] = {
    "id": (
        {"type": "string", "pattern": f"{DECISION_PATTERN}|^reference:"},
        "The decision's id, an answer's id made of it (chatcmpl-<id>), or reference: and what your key calls it by.",
    )
}
_TOKEN: Final[PathParameters] = {"token": ({"type": "string"}, "What a feedback link ends in.")}
_ARM: Final = {"arm": (NAME, "Name of the arm; a slash in it may be written as it is or as %2F.")}
_GATEWAY: Final = (MALFORMED, TOO_LARGE, MEDIA, NOT_FOUND, BUDGET, UNAVAILABLE)
_GATEWAY_BODY: Final = BodyRule(most_bytes=attrgetter("gateway.max_body_bytes"), bounded=False)


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST", path="/v1/route", handler=routing.create, operation="route",
        summary="Decide which arm answers a query", tag="routing", scope="route",
        body=route_schemas.RouteRequest, idempotency_key=True, answers={200: route_schemas.RouteAnswer},
        problems=(*BODY, NO_ARM, NOT_FOUND, CONFLICT, BUDGET, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/route/batch", handler=routing.create_batch, operation="routeBatch",
        summary="Decide for several queries in one commit (207 when one of them failed)", tag="routing",
        scope="route", body=route_schemas.RouteBatchRequest, takes=BATCH_BODY, idempotency_key=True,
        answers={200: route_schemas.RouteBatchAnswer, 207: route_schemas.RouteBatchAnswer},
        problems=(*BODY, CONFLICT, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/rewards", handler=rewards.create, operation="reward",
        summary="Reward a decision, or a list of them (207 when one of them failed)", tag="rewards",
        scope="reward", body=reward_schemas.RewardBody, idempotency_key=True,
        answers={
            200: reward_schemas.RewardAnswer, 202: reward_schemas.RewardReceiptAnswer,
            207: reward_schemas.RewardListAnswer,
        },
        problems=(*BODY, NOT_FOUND, CONFLICT, GONE, UNAVAILABLE),
    ),
    Route(
        method="DELETE", path="/v1/rewards/{id}", handler=rewards.retract, operation="retractReward",
        summary="Take a reward back; what it taught is unlearned", tag="rewards", scope="reward",
        path_parameters=id_of("An id that the daemon gave."), answers={200: reward_schemas.RewardReceiptAnswer},
        problems=(NOT_FOUND, CONFLICT, GONE, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/chat/completions", handler=chat.create, operation="chat",
        summary="Answer a chat: decide, call the arm's upstream, stream it through, settle", tag="gateway",
        scope="chat", body=chat_schemas.ChatRequest, answers={200: chat_schemas.ChatAnswer},
        takes=_GATEWAY_BODY, error_model=chat_schemas.OpenAIErrorAnswer, problems=_GATEWAY,
    ),
    Route(
        method="POST", path="/v1/messages", handler=messages.create, operation="messages",
        summary="The same in Anthropic's form", tag="gateway",
        scope="chat", body=message_schemas.MessagesRequest, answers={200: message_schemas.MessagesAnswer},
        takes=_GATEWAY_BODY, error_model=message_schemas.AnthropicErrorAnswer,
        problems=_GATEWAY,
    ),
    Route(
        method="POST", path="/v1/messages/count_tokens", handler=messages.count_tokens, operation="countTokens",
        summary="Count the tokens of a request in Anthropic's form; nothing is recorded", tag="gateway",
        scope="chat", body=message_schemas.MessagesRequest, answers={200: message_schemas.TokenCount},
        takes=_GATEWAY_BODY, error_model=message_schemas.AnthropicErrorAnswer,
        problems=_GATEWAY,
    ),
    Route(
        method="POST", path="/v1/responses", handler=responses.create, operation="responses",
        summary="The same in the form of OpenAI's responses, by arms whose upstream speaks it", tag="gateway",
        scope="chat", body=message_schemas.ResponsesRequest, answers={200: message_schemas.ResponsesAnswer},
        takes=_GATEWAY_BODY, error_model=chat_schemas.OpenAIErrorAnswer, problems=_GATEWAY,
    ),
    Route(
        method="POST", path="/v1/embeddings", handler=embeddings.create, operation="embeddings",
        summary="Embed texts by one arm: metered, never explored", tag="gateway",
        scope="chat", body=message_schemas.EmbeddingsRequest, answers={200: message_schemas.EmbeddingsAnswer},
        takes=_GATEWAY_BODY, error_model=chat_schemas.OpenAIErrorAnswer, problems=_GATEWAY,
    ),
    Route(
        method="GET", path="/v1/models", handler=chat.models, operation="listModels",
        summary="The names that requests to the gateway may use", tag="gateway", scope="chat",
        answers={200: chat_schemas.ModelList}, error_model=chat_schemas.OpenAIErrorAnswer,
        problems=(NOT_FOUND,),
    ),
    Route(
        method="GET", path="/v1/models/{model}", pattern="/v1/models/{model:.+}", handler=chat.model,
        operation="getModel", summary="One of these names", tag="gateway", scope="chat",
        path_parameters={"model": ({"type": "string"}, "The name; a slash in it may be written as it is or as %2F.")},
        answers={200: chat_schemas.ModelEntry}, error_model=chat_schemas.OpenAIErrorAnswer, problems=(NOT_FOUND,),
    ),
    look(
        "/v1/decisions", decisions.page, "listDecisions", "The decision log, newest first", tag="decisions",
        parameters=report_schemas.DecisionParameters, answers={200: report_schemas.DecisionPage},
        problems=(INVALID, UNAVAILABLE),
    ),
    look(
        "/v1/decisions/{id}", decisions.get, "getDecision", "One decision whole", tag="decisions",
        path_parameters=_DECISION, answers={200: report_schemas.DecisionWhole}, problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/decisions/{id}/usage", handler=decisions.report_usage,
        operation="reportUsage", summary="Report what a decision really cost", tag="decisions",
        scope="reward", idempotency_key=True, path_parameters=_DECISION, body=reward_schemas.UsageRequest,
        answers={200: reward_schemas.UsageAnswer}, problems=(*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/decisions/{id}/activate", handler=decisions.activate,
        operation="activateDecision", summary="Activate a deferred decision", tag="decisions",
        scope="reward", idempotency_key=True, path_parameters=_DECISION, answers={200: reward_schemas.ActivateAnswer},
        problems=(INVALID, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/decisions/{id}/abandon", handler=decisions.abandon,
        operation="abandonDecision", summary="Say that a decision was never served", tag="decisions",
        scope="reward", idempotency_key=True, path_parameters=_DECISION, answers={200: reward_schemas.AbandonAnswer},
        problems=(INVALID, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/decisions/{id}/feedback-link", handler=feedback.create,
        operation="makeFeedbackLink", summary="Make a link with which anybody may vote on a decision",
        tag="decisions", scope="reward", path_parameters=_DECISION, body=reward_schemas.FeedbackLinkRequest,
        body_required=False, answers={200: reward_schemas.FeedbackLinkAnswer},
        problems=(*BODY, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/feedback/{token}", feedback.show, "showFeedback", "The page of a feedback link: two buttons",
        tag="feedback", scope=None, path_parameters=_TOKEN, answers={200: None}, media="text/html",
        failed=feedback.failed, problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/feedback/{token}", handler=feedback.vote, operation="giveFeedback",
        summary="Press one of its buttons: counts once, the other one corrects it", tag="feedback", scope=None,
        path_parameters=_TOKEN, takes=feedback.FORM_BODY, answers={200: None}, media="text/html",
        failed=feedback.failed, problems=(*BODY, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/arms", arms.page, "listArms", "Every arm of a policy", tag="arms",
        parameters=PolicyParameters, answers={200: arm_schemas.ArmListAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/arms", handler=arms.add, operation="addArm", summary="Add an arm",
        tag="arms", scope="admin", idempotency_key=True, parameters=PolicyParameters,
        body=arm_schemas.ArmRequest, answers={201: arm_schemas.ArmAnswer},
        problems=(*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    look(
        "/v1/arms/{arm}", arms.get, "getArm", "One arm", tag="arms", pattern="/v1/arms/{arm:.+}",
        path_parameters=_ARM, parameters=PolicyParameters, answers={200: arm_schemas.ArmAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="PATCH", path="/v1/arms/{arm}", pattern="/v1/arms/{arm:.+}", handler=arms.patch,
        operation="patchArm", summary="Change an arm", tag="arms", scope="admin", idempotency_key=True,
        path_parameters=_ARM, parameters=PolicyParameters, body=arm_schemas.ArmPatch,
        answers={200: arm_schemas.ArmAnswer}, problems=(*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    Route(
        method="DELETE", path="/v1/arms/{arm}", pattern="/v1/arms/{arm:.+}", handler=arms.delete,
        operation="deleteArm", summary="Take an arm out; its log and statistics stay", tag="arms",
        scope="admin", idempotency_key=True, path_parameters=_ARM, parameters=PolicyParameters,
        answers={204: None}, problems=(INVALID, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    look(
        "/v1/stats", reports.stats, "stats", "A policy in numbers",
        parameters=report_schemas.StatsParameters, answers={200: report_schemas.StatsAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/savings", reports.savings, "savings", "What routing saved and lost against the baseline",
        parameters=money_schemas.SavingsParameters, answers={200: money_schemas.SavingsAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/stats/contexts", reports.contexts, "statsContexts", "The same per cluster of queries",
        parameters=tag_schemas.TagParameters, answers={200: tag_schemas.ContextsAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="PATCH", path="/v1/contexts/{cluster}", handler=reports.rename_context, operation="nameContext",
        summary="Name a cluster of queries, or take its name back", tag="looking", scope="admin",
        path_parameters={"cluster": ({"type": "integer", "minimum": 0}, "Number of the cluster.")},
        parameters=PolicyParameters, body=tag_schemas.ContextPatch,
        answers={200: tag_schemas.ContextNameAnswer}, problems=(*BODY, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/tags", reports.tags, "listTags", "The tags of a policy's queries and their values",
        parameters=PolicyParameters, answers={200: tag_schemas.TagsAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/stats/timeseries", reports.timeseries, "statsTimeseries", "The same over time",
        parameters=report_schemas.TimeseriesParameters, answers={200: report_schemas.TimeseriesAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/promise", promise.get, "getPromise", "How a policy keeps its promise",
        parameters=PolicyParameters, answers={200: promise_schemas.PromiseAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="PATCH", path="/v1/promise", handler=promise.patch, operation="patchPromise",
        summary="Promise something else, from the next decision on", tag="looking", scope="admin",
        body=promise_schemas.PromisePatch, answers={200: promise_schemas.PromiseAnswer},
        problems=(*BODY, NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="PATCH", path="/v1/policies/{policy}", handler=promise.patch_policy, operation="patchPolicy",
        summary="Turn a policy's switches: rollout, mode, promise", tag="looking", scope="admin",
        path_parameters=POLICY, body=promise_schemas.PolicyPatch, answers={200: promise_schemas.PromiseAnswer},
        problems=(*BODY, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/budgets", reports.budgets, "listBudgets", "What stands on the budgets",
        parameters=PolicyParameters, answers={200: money_schemas.BudgetsAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/budgets/{budget}/corrections", handler=reports.correct_budget,
        operation="correctBudget", summary="Correct what is charged to an account by hand", tag="looking",
        scope="admin", idempotency_key=True, path_parameters={"budget": (NAME, "Name of the budget.")},
        body=money_schemas.CorrectionRequest, answers={200: money_schemas.CorrectionAnswer},
        problems=(*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    *DASHBOARD_ROUTES,
    look(
        "/v1/policies", reports.policies, "listPolicies", "Every policy",
        answers={200: report_schemas.PoliciesAnswer},
    ),
    look(
        "/v1/policies/{policy}/report", reports.policy_report, "policyReport", "Where a policy stands",
        path_parameters=POLICY, answers={200: report_schemas.PolicyReport},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/policies/{policy}/snapshots", reports.snapshots, "listSnapshots", "Its snapshots, newest first",
        path_parameters=POLICY, parameters=report_schemas.SnapshotParameters,
        answers={200: report_schemas.SnapshotsAnswer}, problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    *PROVING_ROUTES,
    look(
        "/health/liveness", operations.liveness, "liveness", "Does the process answer?", tag="operations",
        scope=None, answers={200: report_schemas.HealthAnswer}, problems=(), by_any_name=True,
    ),
    look(
        "/health/readiness", operations.readiness, "readiness", "Should it get traffic?", tag="operations",
        scope=None, answers={200: report_schemas.HealthAnswer, 503: report_schemas.HealthAnswer}, problems=(),
        by_any_name=True, details="read",
    ),
    look(
        "/metrics", operations.metrics, "metrics", "Metrics for Prometheus", tag="operations",
        answers={200: None}, media="text/plain",
    ),
    look(
        "/openapi.json", operations.openapi, "openapi", "This description", tag="operations", scope=None,
        answers={200: OpenAnswerModel}, problems=(),
    ),
    look(
        "/docs", operations.docs, "docs", "It, readable", tag="operations", scope=None, answers={200: None},
        media="text/html", problems=(),
    ),
    look(
        "/", dashboard.page, "dashboard", "The dashboard, where a browser arrives", tag="operations", scope=None,
        answers={200: None}, media="text/html", problems=(),
    ),
    look(
        "/dashboard/{file}", dashboard.file, "dashboardFile", "A file of the dashboard", tag="operations", scope=None,
        pattern="/dashboard/{file:.+}", answers={200: None}, media="text/javascript", problems=(NOT_FOUND,),
        path_parameters={"file": ({"type": "string"}, "Its name, such as app.js.")},
    ),
    look(
        "/problems/{slug}", operations.problem, "problem", "What a kind of problem means", tag="operations",
        scope=None, path_parameters={"slug": ({"type": "string"}, "Last part of a problem's type.")},
        answers={200: None}, media="text/html", problems=(NOT_FOUND,),
    ),
)  # fmt: skip
