/// Whether a file holds the note that Git LFS leaves in place of a large file which it has not
/// fetched: a few lines of text, the first of which names the form of the note.
/// - Parameter bytes: the file, or at least its first 64 bytes.
/// - SeeAlso: git-lfs/git-lfs, docs/spec.md.
package func isGitLFSPointer(_ bytes: some Collection<UInt8>) -> Bool {
    // The second name is of its first releases.
    ["version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"]
        .contains { bytes.starts(with: $0.utf8) }
}
