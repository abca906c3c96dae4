// Loader: from committed batches and snapshots of the metadata log to images.
//
// Records inside a metadata transaction are held back until its End and dropped by its Abort. Pure:
// whoever reads the log feeds it, in order, what is below the high watermark.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "metadata/apply.h"

namespace odradek::metadata {

class Loader {
 public:
  explicit Loader(ImagePtr base = nullptr);

  /// Applies the records of one committed batch. `last` tells the batch's last offset (control and
  /// empty batches have one too), epoch and append time. An error is final: the image cannot be
  /// trusted any more and the process must stop.
  Result<void> batch(std::span<const Record> records, const Provenance& last);
  /// Replaces everything by a snapshot; `last` is the last offset that it covers.
  Result<void> snapshot(std::span<const Record> records, const Provenance& last);
  /// The image up to the last batch, if it moved since the last call and no transaction is open.
  std::optional<Publication> take();

  bool in_transaction() const { return in_transaction_; }
  /// Last offset given to `batch` or `snapshot`, shown or not.
  Offset last_offset() const { return last_.offset; }

 private:
  Result<void> one(const Record& record);

  ImagePtr shown_;  // what `take` gave last
  std::unique_ptr<ImageBuilder> builder_;
  bool replaces_ = false;  // the builder holds a snapshot that nobody has seen
  Provenance last_;
  bool moved_ = false;
  bool in_transaction_ = false;
  std::vector<Record> held_;  // of the open transaction
};

}  // namespace odradek::metadata
