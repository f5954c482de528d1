// A long list of workgroups is laid out in rows, since a dispatch has at most 65535 workgroups in each direction.

const WORKGROUPS_IN_A_ROW: u32 = 32768u;

/// The place of a workgroup in the list.
fn place(workgroup: vec3<u32>) -> u32 {
    return workgroup.y * WORKGROUPS_IN_A_ROW + workgroup.x;
}
