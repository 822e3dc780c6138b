"""Questions about a Dockerfile other than building it (frontend/dockerui/requests.go)."""

from services.frontend.core.failure import DockerfileError
from services.frontend.core.requests import Asking
from services.frontend.core.to_llb.convert import Conversion
from shared.errors import Unsupported, subrequest_detail


def answer_subrequest(name: str, conversion: Conversion) -> Asking[dict[str, bytes]]:
    """Metadata of the answer. Raises DockerfileError for a question that we don't know."""
    message = f"unsupported request {name}"
    raise DockerfileError(message, cause=Unsupported(message, details=[subrequest_detail(name)]))
    yield
