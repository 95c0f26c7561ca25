import AutoGLMDecoding
import AutoGLMScheduling
import Foundation

@testable import AutoGLMEngine

/// What comes through the channel between the two processes of `serve --isolate`: one byte for the
/// direction, then frames. What can be read can be written, and is the same when read again.
let channelTarget = FuzzTarget(
    "channel", seeds: channelSeeds(),
    words: ["\u{1}\0\0\0", "\u{FF}\u{FF}\u{FF}\u{FF}", "bf16", "length", "stop", "int4"]
) { bytes in
    guard let direction = bytes.first else { return }
    let isForEngine = direction & 1 == 1
    var start = 1
    while start + 4 <= bytes.count {
        let count = (0..<4).reduce(0) { $0 | Int(bytes[start + $1]) << (8 * $1) }
        start += 4
        guard count >= 1, start + count <= bytes.count else {
            if start < bytes.count {
                _ = try EngineFrame.kind(
                    bytes[start], byteCount: count, isForEngine: isForEngine)
            }
            return
        }
        let frame = try EngineFrame.read(
            bytes, start..<(start + count), isForEngine: isForEngine)
        start += count
        var first = WireCoder()
        // More than may be sent can have been read where texts were cut off.
        do { try frame.write(to: &first) } catch { continue }
        let again = try EngineFrame.read(
            first.bytes, 4..<first.bytes.count, isForEngine: isForEngine)
        promise("\(again)" == "\(frame)" || frame.kind == .submit, "\(frame.kind) changes")
    }
}

private func channelSeeds() -> [[UInt8]] {
    let id = SequenceID(3)
    let event = TokenEvent(
        token: 5, logprob: -1, top: [TokenLogprob(token: 5, logprob: -1)])
    var request = GenerationRequest(prompt: [1, 2, 3])
    request.sampling.seed = 4
    request.sampling.logitBias = [3: 1]
    request.sampling.stopStrings = ["x"]
    request.deadline = .seconds(3)
    let frames: [EngineFrame] = [
        .configure(EngineConfiguration()), .submit(SubmittedSequence(request: request)),
        .abort(id), .shed(cachedMax: 1), .stop, .loading(done: 1, total: 2),
        .ready(EngineDescription()), .failed(reason: "x"), .beat(EngineBeat()), .started([id]),
        .leftQueue(id), .ended(id), .prompt(id, [event], Usage()), .token(id, event, Usage()),
        .finish(id, Finish(reason: .stop, stopToken: 2, usage: Usage()), last: event),
        .failure(id, .stepFailed("x")), .step(StepReport(), isStep: true, newTokens: 1),
        .didShed(used: 1, cached: 2), .stopped, .failure(id, .grammar(.tooLarge("x", path: "#"))),
        .vocabulary(FormVocabulary(tokens: [[97], [], [98, 99]], endTokens: [1])),
        .submit(
            SubmittedSequence(
                request: request, form: FormText(source: #"{"regex":"x"}"#, goesOn: true))),
    ]
    return frames.map { frame in
        var coder = WireCoder(appendingTo: [frame.kind.isForEngine ? 1 : 0])
        do { try frame.write(to: &coder) } catch { fatalError("\(error)") }
        return coder.bytes
    }
}
