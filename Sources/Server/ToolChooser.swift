import AutoGLMAPI
import AutoGLMDecoding
import AutoGLMEngine
import Synchronization

/// Lets the model choose among tools when it must call one.
///
/// The names are walked as a tree of tokens: where they part, one token is generated with all
/// others out of reach; where only one way leads on, nothing is computed. The prompt is in the
/// prefix cache after the first step.
struct ToolChooser: Sendable {
    let model: any ServedModel
    let tenant: String

    func choose(among names: [String], prompt: [Int32]) async throws -> String {
        var candidates: [(name: String, tokens: [Int32])] = []
        for name in names {
            guard let call = model.callPrefix(tool: name) else { return name }
            candidates.append((name, call.tokens))
        }
        var depth = 0
        while candidates.count > 1 {
            let next = Set(
                candidates.compactMap { $0.tokens.count > depth ? $0.tokens[depth] : nil })
            if next.isEmpty { break }
            let token =
                next.count == 1
                ? next.first
                : try await step(prompt + candidates[0].tokens.prefix(depth), among: next)
            candidates = candidates.filter { $0.tokens.count > depth && $0.tokens[depth] == token }
            depth += 1
        }
        return candidates.first?.name ?? names.first ?? ""
    }

    /// The likeliest of `tokens` after `prompt`.
    private func step(_ prompt: [Int32], among tokens: Set<Int32>) async throws -> Int32? {
        var request = GenerationRequest(prompt: prompt, sampling: .greedy)
        request.tenant = tenant
        request.sampling.maxTokens = 1
        request.sampling.ignoreEOS = true
        request.sampling.topLogprobs = 0
        for token in tokens.prefix(RequestLimits.logitBiases) {
            request.sampling.logitBias[token] = 100
        }
        let text: GeneratedText
        do {
            text = try model.generate(request)
        } catch {
            throw APIError(error)
        }
        let chosen = TokenBox()
        do {
            try await text.pump { event in
                if let first = event.tokens.first { chosen.set(first.token) }
            }
        } catch let error as GenerationError {
            throw APIError(error)
        }
        guard let token = chosen.value, tokens.contains(token) else { return tokens.min() }
        return token
    }
}

/// Carries one token out of a pump.
private final class TokenBox: Sendable {
    private let token = Mutex<Int32?>(nil)

    func set(_ value: Int32) { token.withLock { $0 = value } }

    var value: Int32? { token.withLock { $0 } }
}
