@unsafe @preconcurrency import Glibc

/// Standard input, output and error as they were handed to us, whole or not.
enum StandardStreams {
    /// Gives the descriptors 0, 1 and 2 a meaning where whoever started us has closed them: the
    /// next file or connection would get the number, and log lines would end up in it. Nothing
    /// can be written to what takes their place, so what is lost there counts as lost.
    static func occupyClosed() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
            // The lowest number that is free, which is this one.
            _ = unsafe open("/dev/null", O_RDONLY)
        }
    }

    /// - Throws: `CommandError` where something printed did not arrive, as on a full disk.
    static func finishOutput() throws {
        guard unsafe fflush(stdout) != 0 || ferror(stdout) != 0 else { return }
        throw CommandError(
            "not all that was printed could be written to standard output; "
                + "see that there is room where it goes")
    }
}
