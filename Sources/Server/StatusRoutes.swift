import AutoGLMAPI
import AutoGLMChat
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMObservability
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// Health, version, models and metrics: answers that need no engine step.
struct StatusRoutes: Sendable {
    let slot: ModelSlot
    let options: ServerOptions
    let state: ServerState
    let metrics: ServerMetrics
    let census: ConnectionCensus
    let budget: MemoryBudget

    /// The process runs.
    func live() -> Response { status("ok", .ok) }

    /// New requests would be served: the model is loaded, not draining, and makes progress.
    func ready() throws -> Response {
        if state.isDraining, slot.loaded == nil { return status("draining", .serviceUnavailable) }
        let engine = try slot.model().engine.status
        if state.isDraining || engine.isDraining || engine.isStopped {
            return status("draining", .serviceUnavailable, engine)
        }
        if engine.isRestarting { return status("restarting", .serviceUnavailable, engine) }
        if engine.hasFailed { return status("failed", .serviceUnavailable, engine) }
        if engine.sinceProgress >= options.stallAfter {
            return status("stalled", .serviceUnavailable, engine)
        }
        return status("ok", .ok, engine)
    }

    private func status(
        _ word: String, _ code: HTTPResponse.Status, _ engine: EngineStatus? = nil
    ) -> Response {
        var json = JSONWriter()
        json.beginObject()
        json.key("status")
        json.string(word)
        if let engine {
            json.key("running")
            json.int(engine.running)
            json.key("waiting")
            json.int(engine.waiting)
            json.key("kv_blocks")
            json.beginObject()
            json.key("total")
            json.int(engine.blocksTotal)
            json.key("used")
            json.int(engine.blocksUsed)
            json.key("cached")
            json.int(engine.blocksCached)
            json.endObject()
        }
        json.endObject()
        var response = Response.json(json.bytes, status: code)
        if code != .ok { response.headers[.retryAfter] = "5" }
        return response
    }

    func ping() -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/plain; charset=utf-8"],
            body: .init(byteBuffer: ByteBuffer(string: "pong")))
    }

    func version() -> Response {
        var json = JSONWriter()
        json.beginObject()
        json.key("version")
        json.string(options.version)
        json.endObject()
        return .json(json.bytes)
    }

    func models() throws -> Response {
        let model = try slot.model()
        var json = JSONWriter()
        json.beginObject()
        json.key("object")
        json.string("list")
        json.key("data")
        json.beginArray()
        for name in [model.facts.name] + options.modelAliases { write(name, model, &json) }
        json.endArray()
        json.endObject()
        return .json(json.bytes)
    }

    func model(_ request: Request) throws -> Response {
        let model = try slot.model()
        let path = request.uri.path
        let name = String(path.dropFirst("/v1/models/".count)).removingURLPercentEncoding()
        guard let name, name == model.facts.name || options.modelAliases.contains(name) else {
            throw RequestBuilder.unknownModel(serving: model.facts.name)
        }
        var json = JSONWriter()
        write(name, model, &json)
        return .json(json.bytes)
    }

    private func write(_ name: String, _ model: ChatModel, _ json: inout JSONWriter) {
        json.beginObject()
        json.key("id")
        json.string(name)
        json.key("object")
        json.string("model")
        json.key("created")
        json.int(model.facts.created)
        json.key("owned_by")
        json.string("open-autoglm")
        json.key("max_model_len")
        json.int(model.facts.contextMax)
        json.endObject()
    }

    func metrics(_ request: Request) -> Response {
        if let engine = slot.loaded?.engine.status {
            metrics.running.set(Double(engine.running))
            metrics.setBlocks(
                total: engine.blocksTotal, used: engine.blocksUsed, cached: engine.blocksCached)
            metrics.preemptions.raise(to: Double(engine.preemptions))
            metrics.record(engine)
        }
        budget.report(to: metrics, slot.loaded)
        metrics.connections.set(Double(census.total))
        metrics.ready.set((try? ready())?.status == .ok ? 1 : 0)
        let format = ExpositionFormat.preferred(accept: request.headers[.accept])
        return Response(
            status: .ok, headers: [.contentType: format.contentType],
            body: .init(byteBuffer: ByteBuffer(string: metrics.exposition(format))))
    }
}

extension String {
    /// The text behind `%41`-style escapes; nil when it is none.
    func removingURLPercentEncoding() -> String? {
        guard contains("%") else { return self }
        var bytes: [UInt8] = []
        var rest = Array(utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest.removeFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
