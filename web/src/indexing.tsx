// Which folders are in the library; indexing them, as it goes on.

import { FolderCheck, FolderPlus, RefreshCw, Square } from "lucide-preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { cancelJob, getJob, getJobs, getRoots, getStatus, revision, ServiceError, startIndex, type Job } from "./api";
import { go } from "./address";
import { Failed, Loading } from "./states";
import { count, shown } from "./text";
import { useLoaded } from "./use";

const MAX_PROBLEMS = 200; // that are shown

export function Indexing() {
  const about = useLoaded(async (signal) => ({ status: await getStatus(signal), roots: await getRoots() }), []);
  const [job, setJob] = useState<Job | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [chosen, setChosen] = useState<Set<string>>(new Set());

  useEffect(() => {
    getJobs().then((jobs) => setJob((now) => now ?? jobs.find((each) => each.kind === "index") ?? null), setError);
  }, []);
  useFollow(job, setJob);

  const start = async (paths: string[]) => {
    setError(null);
    try {
      setJob(await startIndex(paths));
    } catch (failure) {
      setError(failure as Error);
    }
  };

  if (about.error) return <Failed error={about.error} />;
  if (!about.value) return <Loading words="Loading" />;
  const { status, roots } = about.value;
  const isRunning = job?.state === "running";
  const toggle = (path: string) => {
    const next = new Set(chosen);
    if (!next.delete(path)) next.add(path);
    setChosen(next);
  };
  return (
    <section class="indexing" aria-label="Index">
      <dl class="numbers">
        {([["Photos", status.photos], ["Regions", status.regions], ["Captions", status.captions], ["Missing", status.missing], ["Problems", status.problems]] as const).map(
          ([name, number]) => <div><dt>{name}</dt><dd>{number.toLocaleString("en")}</dd></div>,
        )}
      </dl>
      <p class="hint"><bdi>{shown(status.library)}</bdi> · model {status.model} · virtue {status.version}</p>
      {status.read_only ? (
        <p class="card">This service was started read-only. Index with <code>virtue index</code>, or start it without <code>--read-only</code>.</p>
      ) : (
        <form class="card" onSubmit={(event) => { event.preventDefault(); start([...chosen]); }}>
          <h2>Folders</h2>
          {roots.length === 0 ? (
            <p>No folder may be indexed from here yet. Start the service with <code>virtue serve --root ~/Pictures</code>, or index on the command line.</p>
          ) : (
            <ul class="roots">
              {roots.map((root) => (
                <li>
                  <label>
                    <input type="checkbox" checked={chosen.has(root.path)} onChange={() => toggle(root.path)} />
                    {root.indexed ? <FolderCheck /> : <FolderPlus />}
                    <bdi>{shown(root.path)}</bdi>
                    <small>{root.indexed ? "in the library" : "not yet indexed"}</small>
                  </label>
                </li>
              ))}
            </ul>
          )}
          <div class="panel-buttons">
            {roots.some((root) => root.indexed) && (
              <button type="button" class="button" disabled={isRunning} onClick={() => start([])}><RefreshCw /> Bring all up to date</button>
            )}
            {roots.length > 0 && (
              <button type="submit" class="button primary" disabled={isRunning || !chosen.size}><FolderPlus /> Index {chosen.size ? count(chosen.size, "folder") : ""}</button>
            )}
          </div>
        </form>
      )}
      {error && <p class="card is-error" role="alert">{error.message}</p>}
      {job && <JobCard job={job} cancel={() => cancelJob(job.job_id).catch(setError)} />}
    </section>
  );
}

/** Follows a job by server-sent events until it ends. */
function useFollow(job: Job | null, setJob: (job: Job) => void) {
  const ended = useRef<string | null>(null);
  const id = job?.state === "running" ? job.job_id : null;
  useEffect(() => {
    if (!id) return;
    const events = new EventSource(`/v1/jobs/${id}/events`);
    const tell = (event: MessageEvent) => {
      const next: Job = JSON.parse(event.data);
      setJob(next);
      if (next.state === "running") return;
      events.close();
      if (ended.current !== id) revision.value++; // there is something new to see
      ended.current = id;
    };
    for (const name of ["progress", "done", "failed", "cancelled"]) events.addEventListener(name, tell);
    events.onerror = () => {
      // The stream was cut off; the browser opens it again, unless the service is another one by now.
      getJob(id).then(setJob, (error) => {
        if (!(error instanceof ServiceError)) return;
        events.close();
        setJob({ ...job!, state: "failed", problem: { status: 0, title: "", detail: "The service was started again, which ended this." } });
      });
    };
    return () => events.close();
  }, [id]);
}

const STAGES: Record<string, string> = {
  walking: "Looking for photos", indexing: "Indexing photos", reading: "Reading the text in photos", indexes: "Making the search fast",
};

function JobCard({ job, cancel }: { job: Job; cancel: () => void }) {
  const { progress, report, problem } = job;
  const isRunning = job.state === "running";
  const total = progress?.total ?? null;
  return (
    <div class={`card job is-${job.state}`} role="region" aria-label="Indexing">
      <div class="job-bar">
        <h2>{{ running: progress ? STAGES[progress.stage] ?? progress.what : "Starting", done: "Indexed", failed: "Indexing failed", cancelled: "Cancelled" }[job.state]}</h2>
        {isRunning && <button type="button" class="button" onClick={cancel}><Square /> Cancel</button>}
      </div>
      {isRunning && (
        <>
          <progress aria-label="Progress" {...(total ? { value: progress!.done, max: total } : {})} />
          <p role="status">
            {progress ? (total ? `${progress.done.toLocaleString("en")} of ${total.toLocaleString("en")}` : count(progress.done, "file")) : ""}
            {progress?.problems ? ` · ${count(progress.problems, "problem")}` : ""}
          </p>
        </>
      )}
      {problem && <p role="alert"><bdi>{problem.detail}</bdi></p>}
      {job.state === "cancelled" && <p role="status">What was indexed until then stays.</p>}
      {report && <Report report={report} />}
    </div>
  );
}

function Report({ report }: { report: NonNullable<Job["report"]> }) {
  const counts = (
    [["indexed", "new"], ["reembedded", "embedded again"], ["relinked", "moved"], ["unchanged", "unchanged"], ["missing", "missing"]] as const
  ).filter(([key]) => report[key]).map(([key, name]) => `${(report[key] as number).toLocaleString("en")} ${name}`);
  const { problems, warnings } = report;
  return (
    <>
      <p role="status">{counts.length ? `Photos: ${counts.join(", ")}.` : "No photos were found."} <button type="button" class="link" onClick={() => go({ view: "photos" })}>Show the photos</button></p>
      {problems.length > 0 && (
        <details class="problems" open={problems.length <= 10}>
          <summary>{count(problems.length, "file")} could not be indexed</summary>
          <ul>{problems.slice(0, MAX_PROBLEMS).map((each) => (
            <li><bdi>{shown(each.path)}</bdi><small><bdi>{shown(each.reason)}</bdi></small></li>
          ))}</ul>
          {problems.length > MAX_PROBLEMS && <p>and {problems.length - MAX_PROBLEMS} more</p>}
        </details>
      )}
      {warnings.map((warning) => <p class="warning"><bdi>{shown(warning)}</bdi></p>)}
    </>
  );
}
