"""Which question is asked (frontend/dockerui/requests.go)."""

from services.frontend.core.failure import DockerfileError
from services.frontend.core.requests import Asking
from services.frontend.core.subrequests.as_llb import answer_convert
from services.frontend.core.subrequests.describe import answer_describe
from services.frontend.core.subrequests.lint import answer_lint
from services.frontend.core.subrequests.outline import answer_outline
from services.frontend.core.subrequests.targets import answer_targets
from services.frontend.core.to_llb.convert import Conversion
from shared.errors import Unsupported, subrequest_detail


def answer_subrequest(name: str, conversion: Conversion) -> Asking[dict[str, bytes]]:
    """Metadata of the answer. Raises DockerfileError for a question that we don't know."""
    match name:
        case "frontend.subrequests.describe":
            return answer_describe()
        case "frontend.targets":
            return answer_targets(conversion.source_map.data)
        case "frontend.outline":
            return (yield from answer_outline(conversion))
        case "frontend.lint":
            return (yield from answer_lint(conversion))
        case "frontend.convertllb":
            return (yield from answer_convert(conversion))
    message = f"unsupported request {name}"
    raise DockerfileError(message, cause=Unsupported(message, details=[subrequest_detail(name)]))
