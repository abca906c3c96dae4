// Writes an image as the records of a snapshot, in Apache's order: features (metadata.version
// first), cluster, topics, configs, client quotas, producer ids, ACLs, SCRAM, delegation tokens.
#pragma once

#include <functional>
#include <vector>

#include "metadata/image.h"
#include "metadata/record.h"

namespace odradek::metadata {

/// Calls `sink` for each record. Record versions are those of the image's metadata.version.
void for_each_record(const Image& image, const std::function<void(Record)>& sink);
/// All of them at once.
std::vector<Record> to_records(const Image& image);

}  // namespace odradek::metadata
