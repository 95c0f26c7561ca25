import AutoGLM

/// Asks a model on disk a question and prints the answer as it comes.
func ask(_ question: String, modelDirectory: String) async throws {
    let model = try Model.load(directory: modelDirectory)
    var sampling = model.recommendedSampling
    sampling.maxTokens = 200
    let conversation = [
        ChatMessage(.system, "Answer in one sentence."),
        ChatMessage(.user, question),
    ]
    for try await text in try await model.chat(conversation, sampling: sampling) {
        print(text, terminator: "")
    }
}
