import AutoGLMEngine
import AutoGLMObservability
import AutoGLMServer
import Foundation
import Hummingbird
import Logging
import Synchronization
import TestKit
import Testing

/// A strict reader of the two text formats; what it accepts, every scraper accepts.
private struct ExpositionParser {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    var kinds: [String: String] = [:]
    var samples: [String: Double] = [:]

    init(_ text: String, openMetrics: Bool) throws {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.popLast() == "" else { throw Failure(description: "no final newline") }
        if openMetrics {
            guard lines.popLast() == "# EOF" else { throw Failure(description: "no EOF") }
        }
        var family = ""
        var closed: Set<String> = []
        for line in lines {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if line.hasPrefix("# HELP ") {
                guard words.count == 4, kinds[words[2]] == nil else {
                    throw Failure(description: "\(line)")
                }
                continue
            }
            if line.hasPrefix("# TYPE ") {
                guard words.count == 4, closed.insert(words[2]).inserted else {
                    throw Failure(description: "\(line)")
                }
                family = words[2]
                kinds[family] = words[3]
                continue
            }
            try sample(String(line), family, openMetrics)
        }
        try checkHistograms()
    }

    private mutating func sample(_ line: String, _ family: String, _ openMetrics: Bool) throws {
        guard let space = line.lastIndex(of: " ") else { throw Failure(description: line) }
        let series = String(line[..<space])
        let valueText = String(line[line.index(after: space)...])
        guard let value = valueText == "+Inf" ? .infinity : Double(valueText), !value.isNaN else {
            throw Failure(description: line)
        }
        let name = String(series.prefix { $0 != "{" })
        let suffixes: [String]
        switch kinds[family] {
        case "counter": suffixes = openMetrics ? ["_total"] : [""]
        case "histogram": suffixes = ["_bucket", "_sum", "_count"]
        case "gauge": suffixes = [""]
        case "info" where openMetrics: suffixes = ["_info"]
        default: throw Failure(description: "no type: \(line)")
        }
        guard suffixes.contains(where: { family + $0 == name }) else {
            throw Failure(description: "\(name) is not of family \(family)")
        }
        if kinds[family] == "counter", !name.hasSuffix("_total") || value < 0 {
            throw Failure(description: line)
        }
        guard name.utf8.allSatisfy({ $0 == 0x5F || (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) })
        else { throw Failure(description: name) }
        if let brace = series.firstIndex(of: "{") {
            guard series.hasSuffix("\"}") else { throw Failure(description: line) }
            for pair in series[series.index(after: brace)...].dropLast().split(separator: ",") {
                guard pair.firstRange(of: "=\"") != nil else { throw Failure(description: line) }
            }
        }
        guard samples.updateValue(value, forKey: series) == nil else {
            throw Failure(description: "twice: \(series)")
        }
    }

    private func checkHistograms() throws {
        for (family, kind) in kinds where kind == "histogram" {
            let counts = samples.filter { $0.key.hasPrefix(family + "_count") }
            guard !counts.isEmpty else { throw Failure(description: "\(family) is empty") }
            for (series, count) in counts {
                let labels = series.dropFirst(family.count + 6).dropLast().dropFirst()
                let prefix = family + "_bucket{" + (labels.isEmpty ? "" : labels + ",")
                let infinite = samples[prefix + "le=\"+Inf\"}"]
                guard infinite == count else { throw Failure(description: series) }
                let buckets = samples.filter { $0.key.hasPrefix(prefix + "le=") }
                guard buckets.values.allSatisfy({ $0 <= count }) else {
                    throw Failure(description: series)
                }
            }
        }
    }
}

@Suite struct MetricsTests {
    @Test(arguments: [false, true])
    func textParses(openMetrics: Bool) async throws {
        // Slow enough for each token to arrive by itself.
        var script = Script()
        script.delay = .milliseconds(10)
        let server = try TestServer(script)
        try await server.test { client in
            _ = try await client.chat()
            _ = try await client.chat(#","stream":true,"n":2"#)
            _ = try await client.get("/nowhere/\(UUID())")
            _ = try await client.chat(#","n":99"#)
            let accept = openMetrics ? "application/openmetrics-text;version=1.0.0,*/*" : "*/*"
            let answer = try await client.get("/metrics", headers: [.accept: accept])
            #expect(answer.status == 200)
            let type = openMetrics ? "application/openmetrics-text" : "text/plain; version=0.0.4"
            #expect(answer.headers[.contentType]?.hasPrefix(type) == true)
            let parsed = try ExpositionParser(answer.text, openMetrics: openMetrics)
            let chat = #"http_requests_total{method="POST",handler="/v1/chat/completions",code="#
            #expect(parsed.samples[chat + "\"200\"}"] == 2)
            #expect(parsed.samples[chat + "\"400\"}"] == 1)
            #expect(parsed.samples[#"http_requests_total{method="GET",handler="other",code="404"}"#] == 1)
            #expect(parsed.samples["autoglm_generated_tokens_total"] == 39)
            #expect(parsed.samples["autoglm_prompt_tokens_total"] == 9)
            // The first prompt is computed, the two choices of the second find it.
            #expect(parsed.samples["autoglm_cached_prompt_tokens_total"] == 4)
            #expect(parsed.samples["autoglm_time_to_first_token_seconds_count"] == 3)
            // One gap less than tokens for each choice; on a busy machine tokens come in company,
            // and those of a choice's first delivery have no gap.
            let gaps = parsed.samples["autoglm_inter_token_latency_seconds_count"] ?? 0
            #expect((3...36).contains(gaps))
            #expect(parsed.samples[#"autoglm_requests_finished_total{reason="stop"}"#] == 3)
            #expect(parsed.samples[#"autoglm_kv_blocks{state="used"}"#] == 0)
            let idle = ["free", "cached"].map {
                parsed.samples["autoglm_kv_blocks{state=\"\($0)\"}"] ?? 0
            }
            #expect(idle[0] + idle[1] == 8_192 && idle[1] > 0)
            #expect(parsed.samples["process_resident_memory_bytes"] ?? 0 > 1e6)
            #expect(parsed.samples["process_open_fds"] ?? 0 > 2)
            #expect(parsed.samples.keys.contains { $0.hasPrefix("build_info{version=\"test\"") })
        }
    }

    /// The names dashboards are built on.
    @Test func namesAreFixed() throws {
        let metrics = ServerMetrics(version: "1")
        metrics.requests.add(1, "GET", "/ping", "200")
        metrics.requestDuration.observe(0.1, "/ping")
        metrics.finished.add(1, "stop")
        metrics.rejections.add(1, "queue_full")
        metrics.memoryBandwidth.set(0.9)
        let parsed = try ExpositionParser(metrics.exposition(.prometheus), openMetrics: false)
        for name in [
            "http_requests_total", "http_request_duration_seconds",
            "autoglm_time_to_first_token_seconds", "autoglm_inter_token_latency_seconds",
            "autoglm_time_per_output_token_seconds", "autoglm_e2e_request_latency_seconds",
            "autoglm_queue_time_seconds", "autoglm_prefill_time_seconds",
            "autoglm_decode_time_seconds", "autoglm_requests_running",
            "autoglm_requests_waiting", "autoglm_kv_blocks", "autoglm_kv_usage_ratio",
            "autoglm_prompt_tokens_total", "autoglm_cached_prompt_tokens_total",
            "autoglm_generated_tokens_total", "autoglm_requests_finished_total",
            "autoglm_admission_rejections_total", "autoglm_preemptions_total",
            "autoglm_step_seconds", "autoglm_batch_tokens", "autoglm_memory_bandwidth_ratio",
            "build_info", "process_cpu_seconds_total", "process_start_time_seconds",
        ] {
            #expect(parsed.kinds[name] != nil, "\(name)")
        }
    }

    /// Declaring a metric registers it; the order of the text is that of the declarations.
    @Test func theOrderIsFixed() {
        let metrics = ServerMetrics(version: "1", startTime: 7)
        metrics.connections.set(1)
        metrics.ready.set(1)
        metrics.memoryBandwidth.set(0.9)
        let text = metrics.exposition(.openMetrics)
        let families = text.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }
            .map { $0.split(separator: " ")[2] }
        #expect(
            families.prefix { !$0.hasPrefix("process_") } == [
                "build", "http_requests", "http_connections", "http_connection_refusals",
                "autoglm_time_to_first_token_seconds", "autoglm_inter_token_latency_seconds",
                "autoglm_time_per_output_token_seconds", "autoglm_e2e_request_latency_seconds",
                "autoglm_queue_time_seconds", "autoglm_prefill_time_seconds",
                "autoglm_decode_time_seconds", "autoglm_step_seconds", "autoglm_batch_tokens",
                "autoglm_ready", "autoglm_requests_running", "autoglm_requests_waiting",
                "autoglm_kv_blocks", "autoglm_kv_usage_ratio", "autoglm_memory_bandwidth_ratio",
                    "autoglm_engine_restarts", "autoglm_engine_process_restarts",
                    "autoglm_failed_steps",
                    "autoglm_requests_quarantined",
                "autoglm_memory_actions",
                "autoglm_prompt_tokens", "autoglm_cached_prompt_tokens",
                "autoglm_generated_tokens", "autoglm_requests_finished",
                "autoglm_loops_stopped", "autoglm_admission_rejections", "autoglm_preemptions",
                "autoglm_log_lines_dropped", "autoglm_log_buffer_bytes",
            ])
        #expect(
            text.hasPrefix(
                "# HELP build What is running.\n# TYPE build info\n"
                    + "build_info{version=\"1\",program=\"autoglm\"} 1\n"))
        #expect(text.contains("\nprocess_start_time_seconds 7\n"))
        #expect(text.hasSuffix("\n# EOF\n"))
        let older = metrics.exposition(.prometheus)
        #expect(older.contains("\n# TYPE autoglm_preemptions_total counter\n"))
        #expect(older.contains("\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total "))
    }

    @Test func histogramsAreCumulative() throws {
        let metrics = ServerMetrics(version: "1")
        for value in [0.0005, 0.001, 0.0011, 9, 11] { metrics.timeToFirstToken.observe(value) }
        let parsed = try ExpositionParser(metrics.exposition(.openMetrics), openMetrics: true)
        let name = "autoglm_time_to_first_token_seconds"
        #expect(parsed.samples[name + #"_bucket{le="0.001"}"#] == 2)
        #expect(parsed.samples[name + #"_bucket{le="0.005"}"#] == 3)
        #expect(parsed.samples[name + #"_bucket{le="10"}"#] == 4)
        #expect(parsed.samples[name + #"_bucket{le="+Inf"}"#] == 5)
    }

    @Test func stepsAreRecorded() {
        let metrics = ServerMetrics(version: "1")
        var step = StepReport()
        step.seconds = 0.02
        step.batchTokens = 32
        step.running = 4
        step.waitingByPriority = [3, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        step.blocksTotal = 10
        step.blocksUsed = 5
        step.blocksCached = 2
        step.preemptions = 7
        metrics.record(step)
        #expect(metrics.running.value() == 4)
        #expect(metrics.waiting.value("0") == 3)
        #expect(metrics.waiting.value("9") == 1)
        #expect(metrics.blocks.value("free") == 3)
        #expect(metrics.blockUsage.value() == 0.5)
        #expect(metrics.preemptions.value() == 7)
        #expect(metrics.stepTime.count == 1)
        #expect(metrics.memoryBandwidth.value() == nil)
    }

    @Test func decodeStepsAreComparedWithMemory() throws {
        let metrics = ServerMetrics(version: "1")
        metrics.setMemoryTraffic(
            MemoryTraffic(weightBytes: 9_000, bytesPerToken: 10, bandwidth: 100_000))
        var step = StepReport()
        step.seconds = 0.2
        step.decodeTokens = 2
        step.contextTokens = 100
        metrics.record(step)
        #expect(metrics.memoryBandwidth.value() == 0.5)
        // Prompt rows are bound by arithmetic and say nothing about memory.
        step.prefillTokens = 30
        step.seconds = 1
        metrics.record(step)
        #expect(metrics.memoryBandwidth.value() == 0.5)
        step.prefillTokens = 0
        step.seconds = 0.1
        for _ in 0..<200 { metrics.record(step) }
        let settled = try #require(metrics.memoryBandwidth.value())
        #expect(abs(settled - 1) < 1e-3)
    }
}

@Suite struct LogTests {
    @Test func linesAreJSON() throws {
        let lines = Mutex<[String]>([])
        var logger = Logger(label: "a\"b") { label in
            LineLogHandler(label: label, format: .json) { line in lines.withLock { $0.append(line) } }
        }
        logger[metadataKey: "id"] = "x\ny\u{1}"
        logger.info("hello", metadata: ["code": "200"])
        logger.debug("unseen")
        let all = lines.withLock { $0 }
        #expect(all.count == 1)
        let line = try #require(all.first)
        #expect(line.hasSuffix("}\n") && line.count { $0 == "\n" } == 1)
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String]
        #expect(object?["message"] == "hello")
        #expect(object?["id"] == "x\ny\u{1}")
        #expect(object?["code"] == "200")
        #expect(object?["level"] == "info")
    }

    @Test func humanLinesStayOneLine() {
        let lines = Mutex<[String]>([])
        let logger = Logger(label: "l") { label in
            LineLogHandler(label: label, format: .human) { line in lines.withLock { $0.append(line) } }
        }
        logger.warning("a\nb", metadata: ["k": "c\r\nd"])
        let line = lines.withLock { $0.first } ?? ""
        #expect(line.count { $0 == "\n" } == 1)
        #expect(line.contains("WARNING a?b k=c??d"))
    }

    /// Prompts and answers never reach the log.
    @Test func requestsAreLoggedWithoutText() async throws {
        let lines = Mutex<[String]>([])
        let server = try TestServer(Script("SECRETANSWER")) { options in
            options.logger = Logger(label: "server") { label in
                LineLogHandler(label: label, format: .json, level: .trace) { line in
                    lines.withLock { $0.append(line) }
                }
            }
        }
        try await server.test { client in
            for path in ["/v1/chat/completions", "/v1/tokenize"] {
                _ = try await client.post(
                    path, #"{"messages":[{"role":"user","content":"SECRETPROMPT"}]}"#)
                _ = try await client.post(path, #"{"messages":"SECRETPROMPT""#)
                _ = try await client.post(
                    path, #"{"messages":[{"role":"SECRETPROMPT","content":"x"}]}"#)
            }
        }
        let text = lines.withLock { $0.joined() }
        #expect(text.contains("completion_tokens"))
        #expect(!text.contains("SECRET"))
    }
}
