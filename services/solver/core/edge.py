"""One edge: initial → cache-fast → cache-slow → complete. BuildKit: solver/edge.go.

A turn of an edge has two halves. `absorb` takes the answers that came in and may pause on questions to the cache index
(it is a generator); `respond` answers those who wait for the edge and opens the requests that it needs next.

Two laws, checked by the scheduler after every turn: someone waiting ⇒ something asked; nobody waiting ⇒ nothing asked.
"""

from collections.abc import Generator, Sequence
from typing import Protocol

from services.solver.core import edge_rules as rules
from services.solver.core.cache_key import CacheKey, KeyLink, content_key, root_key
from services.solver.core.edge_rules import Input, InputSummary, Situation
from services.solver.core.pipe import Answer, CanceledPipe, EdgeState, EdgeView, InputRequest, Pipe
from services.solver.core.questions import FetchRecords, FoundRecord, LinksFound, QueryLinks, Question, RecordsFound, Reply
from services.solver.core.result import EdgeResult
from services.solver.core.vertex import CacheMap, CacheRecord, Output

Thinking = Generator[Question, Reply, None]
Probing = Generator[Question, Reply, bool]


class Requests(Protocol):
    """How an edge opens requests during its turn; the scheduler gives it."""

    def ask_input(self, edge: "Edge", output: Output, request: InputRequest) -> Pipe: ...

    def ask_cache_map(self, edge: "Edge", index: int) -> Pipe: ...

    def ask_content(self, edge: "Edge", dep: Input) -> Pipe: ...

    def ask_load(self, edge: "Edge", found: FoundRecord) -> Pipe: ...

    def ask_run(self, edge: "Edge") -> Pipe: ...

    def ask_turn(self, edge: "Edge") -> Pipe: ...

    def cancel(self, pipe: Pipe) -> None: ...

    def explain(self, edge: "Edge", what: str, **why: object) -> None: ...


class Edge:
    """State of one output that somebody wants. Only the scheduler creates, turns and merges edges."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.state = EdgeState.INITIAL
        self.result: EdgeResult | None = None
        self.keys: list[CacheKey] = []
        self.error: BaseException | None = None
        self.failed_once = False

        self.cache_map: CacheMap | None = None
        self.map_digests: list[str] = []
        self.map_pipe: Pipe | None = None
        self.map_index = 0
        self.map_done = False

        self.inputs: list[Input] | None = None
        self.input_of: dict[Pipe, Input] = {}
        self.summary = InputSummary()
        self.must_run = False

        self.used_keys: dict[str, None] = {}
        self.records: dict[str, FoundRecord] = {}
        self.tried: dict[str, None] = {}
        self.loading: FoundRecord | None = None
        self.work_pipe: Pipe | None = None

        self.keys_changed = False
        self.has_active = False
        self.owner: Edge | None = None
        self.extra_owners = 0
        self.dropped = False

    def __repr__(self) -> str:
        return f"Edge({self.output.vertex.name!r}, {self.output.index}, {self.state.name.lower()})"

    @property
    def ignore_cache(self) -> bool:
        """True when results of earlier builds may not be used for this vertex."""
        return self.output.vertex.options.ignore_cache

    @property
    def is_final(self) -> bool:
        """Nothing can change any more."""
        return self.error is not None or self.result is not None

    @property
    def deps(self) -> Sequence[Input]:
        """What is known of the inputs; empty before the first look at them."""
        return self.inputs or ()

    def view(self) -> EdgeView:
        """What others may know."""
        return EdgeView(state=self.state, result=self.result, keys=tuple(self.keys))

    # --- first half of a turn: take in what came

    def absorb(self, updates: Sequence[Pipe]) -> Thinking:
        """Take the answers of these requests."""
        changed = False
        for pipe in updates:
            changed = (yield from self._absorb_one(pipe)) or changed
        if changed:
            yield from self._refresh()

    def _absorb_one(self, pipe: Pipe) -> Probing:
        answer = pipe.seen
        if pipe is self.map_pipe and answer.completed:
            yield from self._take_cache_map(answer)
            return True
        if pipe is self.work_pipe and answer.completed:
            self._take_work(answer)
            return True
        if (dep := self.input_of.get(pipe)) is not None:
            return (yield from self._take_input(dep, answer))
        for dep in self.deps:
            if pipe is dep.content_pipe and answer.completed:
                yield from self._take_content(dep, answer)
                return True
        return False

    def _fail(self, answer: Answer) -> None:
        if not answer.canceled and self.error is None:
            self.error = answer.error

    def _take_cache_map(self, answer: Answer) -> Thinking:
        if answer.error is not None:
            self.map_pipe = None
            self._fail(answer)
            return
        cache_map = answer.value
        assert isinstance(cache_map, CacheMap)
        self.cache_map, self.map_done = cache_map, cache_map.last
        self.map_index += 1
        if not self.output.vertex.inputs:
            self.map_digests.append(cache_map.digest)
            if not self.ignore_cache:
                yield from self._look_up_root(cache_map)
            self.state = max(self.state, EdgeState.CACHE_SLOW)
        if rules.all_have_keys(self.deps, matching=False):
            self.keys_changed = True
        for dep in self.deps:
            selector = cache_map.rule(dep.index).selector
            yield from self._probe(dep, [KeyLink(key, selector) for key in dep.keys])
            self._check_match_possible(dep)
        if not self.map_done:
            self.map_pipe = None

    def _look_up_root(self, cache_map: CacheMap) -> Thinking:
        key = root_key(cache_map.digest, self.output.index)
        reply = yield FetchRecords(key_id=key.id, digest=key.digest, output=key.output)
        assert isinstance(reply, RecordsFound)
        if reply.exists:
            self._add_key(key, reply.records)

    def _add_key(self, key: CacheKey, records: Sequence[CacheRecord]) -> None:
        for record in records:
            if record.id not in self.tried:
                self.records[record.id] = FoundRecord(record, key)
        self.keys.append(key)

    def _probe(self, dep: Input, links: Sequence[KeyLink], *, only_link: bool = False) -> Probing:
        """Ask what these names of an input lead to; True when a match is new."""
        if not links or (self.ignore_cache and not only_link):
            return False
        assert self.cache_map is not None
        reply = yield QueryLinks(
            links=tuple(dict.fromkeys((link.key.id, link.selector) for link in links)),
            input=dep.index,
            digest=self.cache_map.digest,
            output=self.output.index,
        )
        assert isinstance(reply, LinksFound)
        if self.ignore_cache:
            return False
        found = [id for id in reply.key_ids if id not in dep.matches]
        for id in found:
            dep.matches[id] = CacheKey(id=id, digest=self.cache_map.digest, output=self.output.index)
        return bool(found)

    def _check_match_possible(self, dep: Input) -> None:
        if self.cache_map is not None and not self.must_run and rules.no_match_possible(self.cache_map, dep):
            self.must_run = True

    def _take_work(self, answer: Answer) -> None:
        loading, self.loading = self.loading, None
        if answer.error is not None:
            self.work_pipe = None
            if loading is None:
                self._fail(answer)
            elif not answer.canceled:
                self.tried[loading.record.id] = None
                self.records.pop(loading.record.id, None)
            return
        assert isinstance(answer.value, EdgeResult)
        self.result = answer.value
        self.state = EdgeState.COMPLETE
        if loading is None and not self.ignore_cache:
            self.keys.extend(self.result.keys)

    def _take_input(self, dep: Input, answer: Answer) -> Probing:
        if answer.completed and answer.error is not None:
            self._fail(answer)
        view = answer.value
        if not isinstance(view, EdgeView):
            return False
        changed = len(dep.keys) < len(view.keys)
        if changed and self.cache_map is not None:
            selector = self.cache_map.rule(dep.index).selector
            fresh = view.keys[len(dep.keys) :]
            yield from self._probe(dep, [KeyLink(key, selector) for key in fresh])
            dep.keys = view.keys
            if rules.all_have_keys(self.deps, matching=False):
                self.keys_changed = True
        if dep.state != EdgeState.COMPLETE and view.state == EdgeState.COMPLETE:
            self.keys_changed = True
        moved = view.state != dep.state
        dep.state, dep.keys, dep.result = view.state, view.keys, view.result
        if moved and self.cache_map is not None:
            self._check_match_possible(dep)
            return True
        return changed

    def _take_content(self, dep: Input, answer: Answer) -> Thinking:
        if answer.error is not None:
            dep.content_pipe = None
            self._fail(answer)
            return
        if dep.content_done:
            return
        assert self.cache_map is not None and dep.result is not None
        if answer.value:
            dep.content_key = content_key(answer.value)
            selector = self.cache_map.rule(dep.index).selector
            names = [KeyLink(dep.content_key), *(KeyLink(key, selector) for key in dep.result.keys)]
            dep.content_found = yield from self._probe(dep, names, only_link=True)
        dep.content_done = True
        self.keys_changed = True
        self._check_match_possible(dep)

    def _refresh(self) -> Thinking:
        """Inputs or maps changed: find new matches of the whole vertex, then see how far the edge has come."""
        for id, match in rules.new_matches(self.deps, self.used_keys).items():
            self.used_keys[id] = None
            reply = yield FetchRecords(key_id=id)
            assert isinstance(reply, RecordsFound) and self.cache_map is not None
            links = tuple(rules.links_of(dep, self.cache_map.rule(dep.index)) for dep in self.deps)
            self._add_key(CacheKey(id=id, digest=match.digest, output=match.output, inputs=links), reply.records)
        if self.cache_map is None:
            return
        if self.inputs is not None or not self.output.vertex.inputs:
            self.state = max(self.state, rules.state_bounds(self.cache_map, self.deps))
        if not self.map_done and not self.keys:
            self.state = EdgeState.INITIAL
        if self.inputs is not None or not self.output.vertex.inputs:
            self.summary = rules.summarize(self.cache_map, self.deps, map_done=self.map_done)
        undecided = self.state == EdgeState.CACHE_FAST and self.records and self.summary.keyed_or_slow
        if undecided and not rules.open_keys_left(self.cache_map, self.deps, self.used_keys):
            self.state = EdgeState.CACHE_SLOW

    # --- second half: answer, then ask

    def respond(self, incoming: Sequence[Pipe], outgoing: Sequence[Pipe], host: Requests) -> None:
        """Answer the waiting requests as far as possible, then open what is needed for the rest."""
        desired, done = self._answer(incoming, outgoing, host)
        if done:
            return
        asked_map = False
        if self.map_pipe is None and (self.cache_map is None or not self.records):
            self.map_pipe = host.ask_cache_map(self, self.map_index)
            asked_map = True
        if self.work_pipe is None and desired == EdgeState.COMPLETE and self._start_work(host):
            return
        if self.work_pipe is None and not self._ask_inputs(desired, host, force=False) and not self.has_active and not asked_map:
            host.explain(self, "forced", desired=desired.name)
            self._ask_inputs(desired, host, force=True)

    def _answer(self, incoming: Sequence[Pipe], outgoing: Sequence[Pipe], host: Requests) -> tuple[EdgeState, bool]:
        desired, all_can_finish = self._weigh(incoming)
        if all_can_finish and self.has_active:
            for pipe in outgoing:
                host.cancel(pipe)
            keep = next((p for p in incoming if not p.canceled), incoming[0] if incoming else None)
            for pipe in incoming:
                if pipe is not keep:
                    self._finish(pipe, self.view())
            return desired, True
        view = self.view()
        for pipe in incoming:
            request = pipe.request
            assert request is not None
            if all_can_finish or pipe.canceled or (not self.has_active and self.state >= request.desired):
                self._finish(pipe, view)
            elif not request.known.same_as(view):
                pipe.update(view)
        return desired, all_can_finish

    def _weigh(self, incoming: Sequence[Pipe]) -> tuple[EdgeState, bool]:
        """(the furthest state that is wanted, whether everybody can be answered for good)."""
        desired, can_finish, wanted = self.state, True, False
        if self.is_final:
            return desired, True
        for pipe in incoming:
            request = pipe.request
            assert request is not None
            if pipe.canceled:
                continue
            wanted = True
            if desired < request.desired:
                desired = request.desired
                more_to_come = self.has_active or desired == EdgeState.COMPLETE or len(request.known.keys) == len(self.keys)
                can_finish = can_finish and not more_to_come
        if wanted and self.state < EdgeState.COMPLETE and not self.keys and self.has_active:
            can_finish = False
        return desired, can_finish

    def _finish(self, pipe: Pipe, view: EdgeView) -> None:
        error = self.error
        if error is None and pipe.canceled:
            error = CanceledPipe()
        pipe.finish(view, error)

    def _start_work(self, host: Requests) -> bool:
        """Load or run if that is due; True when something was opened."""
        if not self.records and not self.summary.complete:
            return False
        if self.keys_changed:  # an equal edge may be found first
            host.ask_turn(self)
            return True
        if self.records:
            self.loading = max(self.records.values(), key=lambda f: (f.record.created_at, -f.record.priority))
            self.work_pipe = host.ask_load(self, self.loading)
            for pipe in self.input_of:
                host.cancel(pipe)
        else:
            self.work_pipe = host.ask_run(self)
        return True

    def _ask_inputs(self, desired: EdgeState, host: Requests, *, force: bool) -> bool:
        if self.inputs is None:
            self.inputs = [Input(index) for index in range(len(self.output.vertex.inputs))]
        asked = False
        now = Situation(
            cache_map=self.cache_map,
            deps=self.inputs,
            desired=desired,
            summary=self.summary,
            has_keys=bool(self.keys),
            has_records=bool(self.records),
            must_run=self.must_run or force,
        )
        for dep in self.inputs:
            want = rules.desired_input_state(now, dep)
            if dep.state < want:
                asked = self._ask_input(dep, want, host) or asked
            if dep.state == EdgeState.COMPLETE and dep.content_pipe is None and rules.has_content_rule(self.cache_map, dep):
                dep.content_pipe = host.ask_content(self, dep)
                asked = True
        return asked

    def _ask_input(self, dep: Input, want: EdgeState, host: Requests) -> bool:
        if dep.pipe is not None and not dep.pipe.seen.completed:
            assert dep.pipe.request is not None
            if dep.pipe.request.desired == want:
                return False
            host.cancel(dep.pipe)
        known = EdgeView(state=dep.state, result=dep.result, keys=dep.keys)
        dep.pipe = host.ask_input(self, self.output.vertex.inputs[dep.index], InputRequest(want, known))
        self.input_of[dep.pipe] = dep
        return True

    # --- what the scheduler needs to know

    def index_key(self) -> CacheKey | None:
        """The key under which an equal edge could be found; None while an input has no name."""
        if self.cache_map is None or (self.inputs is None and self.output.vertex.inputs):
            return None
        if any(not dep.keys and dep.result is None for dep in self.deps):
            return None
        links = tuple(rules.index_links_of(dep, self.cache_map.rule(dep.index)) for dep in self.deps)
        key = root_key(self.cache_map.digest, self.output.index)
        return CacheKey(id=key.id, digest=key.digest, output=key.output, inputs=links)

    def commit_keys(self) -> list[CacheKey]:
        """The keys under which the result of a run is stored."""
        assert self.cache_map is not None
        if not self.deps:
            return [root_key(digest, self.output.index) for digest in self.map_digests]
        links = tuple(rules.links_of(dep, self.cache_map.rule(dep.index)) for dep in self.deps)
        return [CacheKey(id="", digest=self.cache_map.digest, output=self.output.index, inputs=links)]
