import FoundationEssentials
import Synchronization

/// Every metric of a model server, under its fixed name.
///
/// A metric is declared here and set where its value arises; the exposition follows the
/// declarations, in their order.
package final class ServerMetrics: Sendable {
    private let build: Info

    // HTTP
    package let requests = Counter(
        "http_requests", "HTTP requests answered.", labels: ["method", "handler", "code"])
    package let requestDuration = Histogram(
        "http_request_duration_seconds", "Time from request head to the end of the answer.",
        labels: ["handler"], bounds: Buckets.durations)
    package let connections = Gauge("http_connections", "Open client connections.")
    package let refusals = Counter(
        "http_connection_refusals",
        "Requests refused and connections cut by the connection itself, by reason and by what was "
            + "under way: accept, head, body or answer.",
        labels: ["reason", "stage"])

    // Latency
    package let timeToFirstToken = Histogram(
        "autoglm_time_to_first_token_seconds", "First byte of the request to first token.",
        bounds: Buckets.timeToFirstToken)
    package let interTokenLatency = Histogram(
        "autoglm_inter_token_latency_seconds", "Gap between two output tokens.",
        bounds: Buckets.interToken)
    package let timePerOutputToken = Histogram(
        "autoglm_time_per_output_token_seconds", "Mean gap between the tokens of a request.",
        bounds: Buckets.interToken)
    package let requestLatency = Histogram(
        "autoglm_e2e_request_latency_seconds", "First byte of the request to last token.",
        bounds: Buckets.durations)
    package let queueTime = Histogram(
        "autoglm_queue_time_seconds", "Arrival to first scheduled.", bounds: Buckets.durations)
    package let prefillTime = Histogram(
        "autoglm_prefill_time_seconds", "First scheduled to first token.",
        bounds: Buckets.durations)
    package let decodeTime = Histogram(
        "autoglm_decode_time_seconds", "First token to last token.", bounds: Buckets.durations)
    package let stepTime = Histogram(
        "autoglm_step_seconds", "Time of one engine step.", bounds: Buckets.interToken)
    package let batchTokens = Histogram(
        "autoglm_batch_tokens", "Tokens computed in one step.", bounds: Buckets.tokens)

    // Where the server stands
    package let ready = Gauge("autoglm_ready", "1 while new requests are accepted.")
    package let running = Gauge("autoglm_requests_running", "Sequences being computed.")
    package let waiting = Gauge(
        "autoglm_requests_waiting", "Sequences in the queue.", labels: ["priority"])
    package let blocks = Gauge(
        "autoglm_kv_blocks", "KV blocks by what holds them.", labels: ["state"])
    package let blockUsage = Gauge(
        "autoglm_kv_usage_ratio", "Share of KV blocks held by running sequences.")
    package let memoryBandwidth = Gauge(
        "autoglm_memory_bandwidth_ratio",
        "Bytes read per second of decode steps over the memory bandwidth measured at the start; "
            + "absent for models below 512 MiB.")

    // The engine's health
    package let engineSilence = Gauge(
        "autoglm_engine_heartbeat_age_seconds", "Time since the engine's last sign of life.")
    package let engineRestarts = Counter(
        "autoglm_engine_restarts", "Engines that hung and were replaced.")
    package let engineProcessRestarts = Counter(
        "autoglm_engine_process_restarts",
        "Processes of the engine (serve --isolate) that ended, or hung and were ended, and were "
            + "replaced.")
    package let failedSteps = Counter(
        "autoglm_failed_steps",
        "Computations that failed, of a whole step or of one sequence of it.")
    package let quarantined = Counter(
        "autoglm_requests_quarantined",
        "Requests refused because the engine had got stuck on them before.")

    // Memory
    package let memory = Gauge(
        "autoglm_memory_bytes",
        "Memory by what holds it: weights and KV blocks, and, of the room that "
            + "requests share, bodies being received, texts being read (estimated), long answers, "
            + "pipelined requests and prompts that wait.",
        labels: ["pool"])
    package let memoryRoom = Gauge(
        "autoglm_memory_room_bytes", "Memory for requests: what the model and limits leave.")
    package let memoryShare = Gauge(
        "autoglm_memory_used_ratio", "Share of the room in use, as last measured.")
    package let memoryActions = Counter(
        "autoglm_memory_actions", "Steps taken because memory ran short.", labels: ["action"])

    // Tokens and outcomes
    package let promptTokens = Counter(
        "autoglm_prompt_tokens", "Prompt tokens of finished requests.")
    package let cachedPromptTokens = Counter(
        "autoglm_cached_prompt_tokens", "Prompt tokens found in the prefix cache.")
    package let generatedTokens = Counter("autoglm_generated_tokens", "Tokens put out.")
    package let finished = Counter(
        "autoglm_requests_finished", "Sequences finished, by reason.", labels: ["reason"])
    package let loops = Counter(
        "autoglm_loops_stopped", "Answers ended because they went round in circles.")
    package let rejections = Counter(
        "autoglm_admission_rejections", "Requests refused before any work, by reason.",
        labels: ["reason"])
    package let preemptions = Counter(
        "autoglm_preemptions", "Sequences put back into the queue for want of KV blocks.")

    private let logLines = LogLineMetrics()
    private let process: ProcessMetrics
    private let traffic = TrafficBox()

    /// - Parameter version: of this program, for `build_info`.
    /// - Parameter startTime: seconds since 1970 at which the process started; now by default.
    package init(version: String, startTime: Double? = nil) {
        build = Info(
            "build", "What is running.", labels: [("version", version), ("program", "autoglm")])
        process = ProcessMetrics(startTime: startTime ?? Date.now.timeIntervalSince1970)
        for priority in 0...9 { waiting.set(0, String(priority)) }
        for state in ["used", "cached", "free"] { blocks.set(0, state) }
        running.set(0)
        blockUsage.set(0)
    }

    /// All metrics as text.
    package func exposition(_ format: ExpositionFormat) -> String {
        MetricRegistry(of: self).exposition(format)
    }

    /// Where the KV blocks are.
    package func setBlocks(total: Int, used: Int, cached: Int) {
        blocks.set(Double(used), "used")
        blocks.set(Double(cached), "cached")
        blocks.set(Double(total - used - cached), "free")
        blockUsage.set(total > 0 ? Double(used) / Double(total) : 0)
    }

    /// What steps read is known once the model is loaded; until then no ratio is reported.
    package func setMemoryTraffic(_ traffic: MemoryTraffic) {
        self.traffic.value.withLock { $0 = traffic }
    }

    /// A step that read the weights once and the keys and values of `contextTokens` positions. The
    /// gauge follows the mean of some twenty steps.
    package func noteDecodeStep(contextTokens: Int, seconds: Double) {
        guard let traffic = traffic.value.withLock({ $0 }), seconds > 0 else { return }
        let ratio = traffic.ratio(contextTokens: contextTokens, seconds: seconds)
        let mean = memoryBandwidth.value() ?? ratio
        memoryBandwidth.set(mean + 0.05 * (ratio - mean))
    }

    /// How many sequences wait, by priority 0…9.
    package func setWaiting(_ byPriority: [Int]) {
        for (priority, count) in byPriority.prefix(10).enumerated() {
            waiting.set(Double(count), String(priority))
        }
    }
}

/// Holds a lock that reflection over the metrics must not have to copy.
private final class TrafficBox: Sendable {
    let value = Mutex<MemoryTraffic?>(nil)
}

/// What a decode step reads, and how fast this machine reads at best.
package struct MemoryTraffic: Sendable {
    let weightBytes: Int
    let bytesPerToken: Int
    let bandwidth: Double

    /// - Parameter weightBytes: weights that a step reads; of experts those of one token.
    /// - Parameter bytesPerToken: keys and values of one position.
    /// - Parameter bandwidth: bytes per second, above 0.
    package init(weightBytes: Int, bytesPerToken: Int, bandwidth: Double) {
        self.weightBytes = weightBytes
        self.bytesPerToken = bytesPerToken
        self.bandwidth = bandwidth
    }

    func ratio(contextTokens: Int, seconds: Double) -> Double {
        let bytes = Double(weightBytes) + Double(contextTokens) * Double(bytesPerToken)
        return bytes / seconds / bandwidth
    }
}
